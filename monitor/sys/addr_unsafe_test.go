package sys

import "unsafe"

// addressOf is where a slice of the monitor's lies.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
