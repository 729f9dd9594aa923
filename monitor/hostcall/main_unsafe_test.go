package hostcall

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func sendInfo(pid, tid, sig int, info *[128]byte) unix.Errno {
	return errno(raw6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(tid), uintptr(sig), uintptr(unsafe.Pointer(info)), 0, 0))
}

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// pages maps n fresh pages in the payload's window, where nobody else maps anything: what comes after them stays
// unmapped.
func pages(t testing.TB, n int) (mem []byte, addr uintptr) {
	t.Helper()
	size := uintptr(n * pageSize)
	addr = windowStart + uintptr(windowUsed.Add(int64(n+16)))*pageSize
	r := Raw(unix.SYS_MMAP, addr, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED, ^uintptr(0), 0)
	if r != addr {
		t.Fatal(errno(r))
	}
	t.Cleanup(func() { Raw(unix.SYS_MUNMAP, addr, size, 0, 0, 0, 0) })
	return unsafe.Slice((*byte)(unsafe.Pointer(addr)), size), addr
}

var windowUsed atomic.Int64 // pages

const pageSize = 4096

func peek(addr uintptr) uint32    { return *(*uint32)(unsafe.Pointer(addr)) }
func poke(addr uintptr, v uint32) { *(*uint32)(unsafe.Pointer(addr)) = v }
