package hostcall

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func sendInfo(pid, tid, sig int, info *[128]byte) unix.Errno {
	return errno(raw6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(tid), uintptr(sig), uintptr(unsafe.Pointer(info)), 0, 0))
}

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// pages maps n fresh pages with two unmapped ones after them.
func pages(t testing.TB, n int) (mem []byte, addr uintptr) {
	t.Helper()
	all, err := unix.Mmap(-1, 0, (n+2)*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	addr = address(&all[0])
	Raw(unix.SYS_MUNMAP, addr+uintptr(n*pageSize), 2*pageSize, 0, 0, 0, 0)
	t.Cleanup(func() { Raw(unix.SYS_MUNMAP, addr, uintptr(n*pageSize), 0, 0, 0, 0) })
	return all[:n*pageSize], addr
}

const pageSize = 4096

func peek(addr uintptr) uint32    { return *(*uint32)(unsafe.Pointer(addr)) }
func poke(addr uintptr, v uint32) { *(*uint32)(unsafe.Pointer(addr)) = v }
