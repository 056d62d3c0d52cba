// DirtyBitmap
