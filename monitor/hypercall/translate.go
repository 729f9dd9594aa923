package hypercall

import (
	"kmdev/monitor/usermem"
)

// badAddress is what an address outside the window becomes: in the kernel's
// half, so the host answers EFAULT at the moment it would look there.
const badAddress = uintptr(0xffff_8000_0000_0000)

// maxRW is the most that one call moves (MAX_RW_COUNT); the kernel cuts a longer
// buffer to it.
const maxRW = 0x7ffff000

// maxSockaddr is sizeof(struct sockaddr_storage): no address is longer, whatever
// room the payload offers.
const maxSockaddr = 128

// Pointer translates a payload address behind which n bytes are to be used.
// One that leaves the window becomes an address that faults.
func Pointer(p, n uint64) uintptr {
	if p >= usermem.Size || min(n, maxRW) > usermem.Size-p {
		return badAddress
	}
	return uintptr(usermem.Window + p)
}

// PointerOrNil is Pointer where NULL means "none".
func PointerOrNil(p, n uint64) uintptr {
	if p == 0 {
		return 0
	}
	return Pointer(p, n)
}

// translate puts into h[i] what the host is to see of argument i.
func translate(t Task, r *Row, ty Type, i int, a *[6]uint64, h *[6]uintptr) {
	switch ty.Kind() {
	case FD, DirFD:
		h[i] = HostFD(t, a[i])
	case Path, Str:
		if a[i] != 0 || !ty.Nullable() {
			h[i] = Pointer(a[i], 1)
		}
	case IOVec:
		h[i] = IOVecs(t, a[i], a[ty.By()])
	case Any, Msghdr, Mmsghdr, StrArray:
		h[i] = badAddress
	default:
		sized(r, ty, i, a, h)
	}
}

// sized translates a pointer whose extent the row gives.
func sized(r *Row, ty Type, i int, a *[6]uint64, h *[6]uintptr) {
	p := a[i]
	if p == 0 && ty.Nullable() {
		return
	}
	h[i] = Pointer(p, extent(r, ty, a))
	if h[i] == badAddress && ty&Clip != 0 && p < usermem.Size {
		// The kernel writes no further than its result says: cut the room.
		_, elem := ty.Struct()
		h[i] = uintptr(usermem.Window + p)
		h[ty.By()] = uintptr((usermem.Size - p) / uint64(elem))
	}
}

// extent returns the bytes behind a pointer, or at least maxRW.
func extent(r *Row, ty Type, a *[6]uint64) uint64 {
	_, elem := ty.Struct()
	by := ty.By()
	if by < 0 {
		return uint64(elem)
	}
	count := r.Args[by].Type
	if count.Pointer() {
		return maxSockaddr
	}
	n := a[by]
	if count.narrow() {
		n = uint64(uint32(n))
	}
	if ty.Kind() == FDSet {
		return (min(n, 8*maxRW) + 63) / 64 * 8
	}
	return min(n, maxRW) * uint64(elem)
}
