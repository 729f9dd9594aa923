package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// utsnameOf sees scratch memory as a struct utsname.
func utsnameOf(m hypercall.Mem) *unix.Utsname {
	return (*unix.Utsname)(unsafe.Pointer(&m.Bytes()[:unsafe.Sizeof(unix.Utsname{})][0]))
}

// statxOf sees scratch memory as a struct statx.
func statxOf(m hypercall.Mem) *unix.Statx_t {
	return (*unix.Statx_t)(unsafe.Pointer(&m.Bytes()[:unsafe.Sizeof(unix.Statx_t{})][0]))
}

// noPath is "" for the host.
var noPath [1]byte

// statxFD looks at an open file without asking a remote server or FUSE.
func statxFD(fd int, x *unix.Statx_t, mask int) bool {
	_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&noPath)),
		unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, uintptr(unix.STATX_TYPE|unix.STATX_INO|mask), uintptr(unsafe.Pointer(x)), 0)
	return e == 0
}

// statmountCall is statmount(2) for one mount; 0 or the errno.
func statmountCall(req *[24]byte, buf []byte) unix.Errno {
	_, _, e := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(req)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	return e
}
