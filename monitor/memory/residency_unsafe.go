package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident asks the host which of the first len(vec) pages from gva on are in memory. Of a file that is somebody else's the
// host says that all are.
func resident(gva uint64, vec []byte) bool {
	_, _, e := unix.Syscall(unix.SYS_MINCORE, host(gva), uintptr(len(vec)*pageSize), uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
	for i := range vec {
		vec[i] &= 1 // the other bits are reserved
	}
	return e == 0
}

// hostPresent tells whether the host has a page of memory at gva.
func hostPresent(gva uint64) bool {
	var vec [1]byte
	return resident(gva, vec[:]) && vec[0] != 0
}

// hostMapped tells whether the host maps the page at gva.
func hostMapped(gva uint64) bool {
	var vec [1]byte
	return resident(gva, vec[:])
}
