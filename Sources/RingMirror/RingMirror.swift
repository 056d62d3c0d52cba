// RingMirror
