package usermem

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

func result(ok bool) unix.Errno {
	if !ok {
		return unix.EFAULT
	}
	return 0
}

// ReadUint32 reads a word, atomically if gva is aligned.
func ReadUint32(gva uint64) (v uint32, e unix.Errno) {
	addr, ok := Host(gva, 4)
	if ok {
		v, ok = hostcall.Load32(addr)
	}
	return v, result(ok)
}

// ReadUint64 reads a word, atomically if gva is aligned.
func ReadUint64(gva uint64) (v uint64, e unix.Errno) {
	addr, ok := Host(gva, 8)
	if ok {
		v, ok = hostcall.Load64(addr)
	}
	return v, result(ok)
}

// WriteUint32 writes a word, atomically if gva is aligned.
func WriteUint32(gva uint64, v uint32) unix.Errno {
	addr, ok := Host(gva, 4)
	return result(ok && hostcall.Store32(addr, v))
}

// WriteUint64 writes a word, atomically if gva is aligned.
func WriteUint64(gva uint64, v uint64) unix.Errno {
	addr, ok := Host(gva, 8)
	return result(ok && hostcall.Store64(addr, v))
}

// aligned is Host for a word that is accessed with a bus lock: EINVAL if it is not naturally aligned, as futex(2) has
// it.
func aligned(gva, size uint64) (uintptr, unix.Errno) {
	if gva%size != 0 {
		return 0, unix.EINVAL
	}
	addr, ok := Host(gva, size)
	return addr, result(ok)
}

// CompareAndSwapUint32 writes new if the word is old. EINVAL if gva is not a multiple of 4; the memory must be writable
// even if the word is another.
func CompareAndSwapUint32(gva uint64, old, new uint32) (swapped bool, e unix.Errno) {
	addr, e := aligned(gva, 4)
	if e != 0 {
		return false, e
	}
	before, ok := hostcall.CompareAndSwap32(addr, old, new)
	return ok && before == old, result(ok)
}

// CompareAndSwapUint64 is CompareAndSwapUint32 for a word of 8 bytes.
func CompareAndSwapUint64(gva, old, new uint64) (swapped bool, e unix.Errno) {
	addr, e := aligned(gva, 8)
	if e != 0 {
		return false, e
	}
	before, ok := hostcall.CompareAndSwap64(addr, old, new)
	return ok && before == old, result(ok)
}

// SwapUint32 writes v and returns the word before. EINVAL if gva is not a multiple of 4.
func SwapUint32(gva uint64, v uint32) (old uint32, e unix.Errno) {
	addr, e := aligned(gva, 4)
	if e != 0 {
		return 0, e
	}
	old, ok := hostcall.Swap32(addr, v)
	return old, result(ok)
}

// AtomicOrUint32 sets bits and returns the word before. EINVAL if gva is not a multiple of 4.
func AtomicOrUint32(gva uint64, bits uint32) (old uint32, e unix.Errno) {
	return update(gva, func(v uint32) uint32 { return v | bits })
}

// AtomicAndUint32 clears the bits that are not in mask and returns the word before. EINVAL if gva is not a multiple of
// 4.
func AtomicAndUint32(gva uint64, mask uint32) (old uint32, e unix.Errno) {
	return update(gva, func(v uint32) uint32 { return v & mask })
}

func update(gva uint64, f func(uint32) uint32) (old uint32, e unix.Errno) {
	addr, e := aligned(gva, 4)
	if e != 0 {
		return 0, e
	}
	v, ok := hostcall.Load32(addr)
	for ok {
		var before uint32
		if before, ok = hostcall.CompareAndSwap32(addr, v, f(v)); ok && before == v {
			return v, 0
		}
		v = before
	}
	return 0, unix.EFAULT
}
