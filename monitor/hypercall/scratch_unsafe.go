package hypercall

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scratchSize is what a thread keeps; larger requests are mapped for the time
// of one call.
const scratchSize = 256 << 10

// Scratch is a bump arena outside the window and outside the Go heap, for
// structures that the kernel reads or writes on behalf of one hypercall. It
// belongs to one vCPU thread. What it hands out is valid until Reset.
type Scratch struct {
	base, used uintptr
	total      int
	extra      []Mem // mappings of their own, too large for the arena
}

// NewScratch reserves an arena. Pages come into being when touched.
func NewScratch() *Scratch { return &Scratch{} }

// Reset makes all of it free again. The run loop does so before each hypercall
// and each continuation.
func (s *Scratch) Reset() {
	s.used, s.total = 0, 0
	if len(s.extra) != 0 {
		s.unmapExtra()
	}
}

// Alloc returns n bytes with undefined content, aligned to 16. If the host has
// no memory left, the result has Host() == 0 and no bytes; that cannot happen
// below 4096 bytes, unless the very first request of a thread fails, which is a
// panic.
func (s *Scratch) Alloc(n int) Mem {
	size := (uintptr(n) + 15) &^ 15
	s.total += int(size)
	if s.base == 0 {
		if s.base = mapScratch(scratchSize); s.base == 0 {
			panic("hypercall: no memory for a thread's scratch area")
		}
	}
	room := uintptr(scratchSize)
	if size >= 4096 {
		room -= 4096 // kept for small requests
	}
	if s.used+size > room {
		return s.allocExtra(size, n)
	}
	m := Mem{s.base + s.used, n}
	s.used += size
	return m
}

// Total returns the bytes handed out since Reset.
func (s *Scratch) Total() int { return s.total }

// Free unmaps everything. The thread may use s again.
func (s *Scratch) Free() {
	s.Reset()
	if s.base != 0 {
		unmapScratch(s.base, scratchSize)
		s.base = 0
	}
}

func (s *Scratch) allocExtra(size uintptr, n int) Mem {
	size = (size + 4095) &^ 4095
	p := mapScratch(size)
	if p == 0 {
		return Mem{}
	}
	s.extra = append(s.extra, Mem{p, int(size)})
	return Mem{p, n}
}

func (s *Scratch) unmapExtra() {
	for _, m := range s.extra {
		unmapScratch(m.host, uintptr(m.n))
	}
	s.extra = s.extra[:0]
}

// mapScratch returns 0 on failure. The kernel never places a mapping inside the
// window by itself: its search runs down from the stack, far above.
func mapScratch(size uintptr) uintptr {
	p, _, e := unix.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, ^uintptr(0), 0)
	if e != 0 {
		return 0
	}
	return p
}

func unmapScratch(p, size uintptr) {
	unix.RawSyscall(unix.SYS_MUNMAP, p, size, 0)
}

// Mem is a piece of Scratch. Offsets out of it panic.
type Mem struct {
	host uintptr
	n    int
}

// Host returns the address for the kernel.
func (m Mem) Host() uintptr { return m.host }

// Bytes returns the memory for Go.
func (m Mem) Bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(m.host)), m.n) }

// Uint32 reads a word at an offset in bytes; so do the others.
func (m Mem) Uint32(off int) uint32 { return binary.LittleEndian.Uint32(m.Bytes()[off:]) }

// Uint64 reads a word.
func (m Mem) Uint64(off int) uint64 { return binary.LittleEndian.Uint64(m.Bytes()[off:]) }

// PutUint32 writes a word.
func (m Mem) PutUint32(off int, v uint32) { binary.LittleEndian.PutUint32(m.Bytes()[off:], v) }

// PutUint64 writes a word.
func (m Mem) PutUint64(off int, v uint64) { binary.LittleEndian.PutUint64(m.Bytes()[off:], v) }
