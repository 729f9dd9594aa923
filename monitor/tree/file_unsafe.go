package tree

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The file: an index of pids, 0 where a slot is free, and the slots. Memory is used for what is written only: a page for the
// index and three or four for a process with a few threads.
type file struct {
	high  uint32 // slots ever used
	_     [4092]byte
	index [maxProcesses]uint32
	slots [maxProcesses]slot
}

const (
	maxProcesses = 16384
	maxThreads   = 2040
	maxRanges    = 2048
	fileSize     = unsafe.Sizeof(file{})
	headSize     = unsafe.Offsetof(file{}.slots)
	slotSize     = unsafe.Sizeof(slot{})
)

// slot is what a process says. Only it writes here.
type slot struct {
	seq             uint32 // odd while it is written
	exe, bound      int32
	threads, ranges uint32 // how many there are; those that have no room are not told
	flags           uint32
	start           uint64
	ignored, caught uint64
	limits          [Limits]unix.Rlimit
	_               [16]byte // so that a slot has slotSize
	thread          [maxThreads]slotThread
	rng             [maxRanges]slotRange
}

// A slot is whole pages, so that a process's takes no memory of another's.
const _ = -uint(unsafe.Sizeof(slot{}) % 4096)

const flagNoNewPrivs = 1

type slotThread struct {
	tid     uint32
	mode    uint8
	_       uint8
	filters uint16
	blocked uint64
}

func packThread(t *Thread) slotThread {
	return slotThread{tid: uint32(t.TID), mode: uint8(t.Seccomp), filters: uint16(t.Filters), blocked: t.Blocked}
}

// slotRange has page-aligned addresses, and in the low bits of start what the range is.
type slotRange struct{ start, end uint64 }

const (
	rangeExec  = 1
	rangeShift = 1 // of the name's number
	rangeMask  = 4095
)

func packRange(r *Range) slotRange {
	p := slotRange{r.Start &^ rangeMask, r.End}
	if r.Exec {
		p.start |= rangeExec
	}
	for i, name := range names {
		if name == r.Name {
			p.start |= uint64(i) << rangeShift
		}
	}
	return p
}

func (p slotRange) unpack() Range {
	name := ""
	if i := p.start & rangeMask >> rangeShift; i < uint64(len(names)) {
		name = names[i]
	}
	return Range{p.start &^ rangeMask, p.end, p.start&rangeExec != 0, name}
}

func mapFile(fd int) (*file, error) {
	b, err := unix.Mmap(fd, 0, int(unsafe.Sizeof(file{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	return (*file)(unsafe.Pointer(unsafe.SliceData(b))), nil
}

// used is how many slots were ever in use.
func (f *file) used() uint32 { return min(atomic.LoadUint32(&f.high), maxProcesses) }

// grow counts slot n among them.
func (f *file) grow(n int) {
	for {
		h := atomic.LoadUint32(&f.high)
		if h > uint32(n) || atomic.CompareAndSwapUint32(&f.high, h, uint32(n)+1) {
			return
		}
	}
}

// read copies slot n; ok is false if its process is writing it all the time, or died writing it.
func (f *file) read(n int) (s *slot, ok bool) {
	const tries = 1000
	from := &f.slots[n]
	s = new(slot)
	for range tries {
		seq := atomic.LoadUint32(&from.seq)
		if seq&1 != 0 {
			continue
		}
		head := unsafe.Offsetof(from.thread)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(s)), head), unsafe.Slice((*byte)(unsafe.Pointer(from)), head))
		copy(s.thread[:min(s.threads, maxThreads)], from.thread[:])
		copy(s.rng[:min(s.ranges, maxRanges)], from.rng[:])
		if atomic.LoadUint32(&from.seq) == seq {
			return s, true
		}
	}
	return nil, false
}

func (s *slot) info() *Info {
	i := &Info{Exe: int(s.exe), FDBound: int(s.bound), Ignored: s.ignored, Caught: s.caught, Limits: s.limits, NoNewPrivs: s.flags&flagNoNewPrivs != 0}
	for _, t := range s.thread[:min(s.threads, maxThreads)] {
		i.Threads = append(i.Threads, Thread{int(t.tid), t.blocked, uint64(t.mode), uint64(t.filters)})
	}
	for _, r := range s.rng[:min(s.ranges, maxRanges)] {
		i.Ranges = append(i.Ranges, r.unpack())
	}
	i.More = int(s.threads) - len(i.Threads)
	return i
}
