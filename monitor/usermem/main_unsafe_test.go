package usermem

import "unsafe"

func pointer(addr uintptr) unsafe.Pointer { return unsafe.Pointer(addr) }

func bytesAt(p unsafe.Pointer, n int) []byte { return unsafe.Slice((*byte)(p), n) }
