// BlockStorage
