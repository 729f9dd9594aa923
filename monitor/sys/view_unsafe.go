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
