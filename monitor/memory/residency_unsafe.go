package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// cached tells whether at least three quarters of a file mapping's range, of which it looks at the first 4 MiB, are in the
// page cache. Where the host won't tell (a file of somebody else's), it says that all is.
func cached(start, end uint64) bool {
	var vec [eagerFile / pageSize]byte
	n := min((end-start)/pageSize, uint64(len(vec)))
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, host(start), uintptr(n*pageSize), uintptr(unsafe.Pointer(&vec[0]))); e != 0 {
		return false
	}
	in := uint64(0)
	for _, b := range vec[:n] {
		in += uint64(b & 1)
	}
	return in*4 >= n*3
}

// hostMapped tells whether the host maps the page at gva.
func hostMapped(gva uint64) bool {
	var vec byte
	_, _, e := unix.Syscall(unix.SYS_MINCORE, host(gva), pageSize, uintptr(unsafe.Pointer(&vec)))
	return e == 0
}
