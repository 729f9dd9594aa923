package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// SetBrk puts the heap behind the program: end is the first address after its image. It returns where the heap starts,
// which is at a random distance unless ASLR is off.
func (as *AddressSpace) SetBrk(end uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	start := pageUp(end) + as.random(brkRandPages)
	as.layout.brkStart, as.layout.brk = start, start
	return start
}

// Brk is brk(2) as the kernel has it: the new end of the heap, or the present one if it can't be.
func (as *AddressSpace) Brk(addr uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := &as.layout
	if addr < l.brkStart || addr > usermem.Size {
		return l.brk
	}
	if addr-l.brkStart > as.cfg.Limit(unix.RLIMIT_DATA) {
		return l.brk
	}
	oldEnd, newEnd := pageUp(l.brk), pageUp(addr)
	switch {
	case newEnd < oldEnd:
		if as.munmap(newEnd, oldEnd-newEnd) != 0 {
			return l.brk
		}
		as.nursery.empty()
	case newEnd > oldEnd:
		if as.growBrk(oldEnd, newEnd) != 0 {
			return l.brk
		}
	}
	l.brk = addr
	return addr
}

func (as *AddressSpace) growBrk(start, end uint64) unix.Errno {
	as.syncDown(start, end)
	if v := as.vmas.at(as.vmas.seek(start)); v != nil && end+pageSize > v.startGap() {
		return unix.ENOMEM
	}
	if as.vmas.n > as.maxMaps() {
		return unix.ENOMEM
	}
	v := VMA{Start: start, End: end, Prot: protRead | protWrite, Flags: as.future, Offset: start}
	if !as.mayExpand(&v, end-start) {
		return unix.ENOMEM
	}
	// A step over the border of a 2 MiB block is two, for the new block may have pages already.
	border := alignDown(end, largePage)
	if border <= start || border == end || end-start >= largePage {
		return as.extendHeap(v)
	}
	head, tail := v, v
	head.End, tail.Start, tail.Offset = border, border, border
	if e := as.extendHeap(head); e != 0 {
		return e
	}
	e := as.extendHeap(tail)
	if e != 0 {
		as.unmap(start, border)
	}
	return e
}

// firstHeap is how much of a growing heap is populated before a stream of touches is known, in bytes.
const firstHeap = 4 * pageSize

// extendHeap maps v, where nothing is.
func (as *AddressSpace) extendHeap(v VMA) unix.Errno {
	if as.adopt(&v) {
		return 0
	}
	m := &mapping{length: v.size(), fd: noFD, hostFlags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, v: v}
	if v.Flags&Locked != 0 {
		m.hostFlags |= unix.MAP_LOCKED
	}
	if e := as.mapOver(m); e != 0 {
		return e
	}
	as.replace(v.Start, v.End, &v)
	if h := as.vmas.find(v.Start); !as.carryOn(h, v.Start, v.End) {
		as.eager(h, v.Start, min(v.End, v.Start+firstHeap)) // malloc writes there at once
	}
	return 0
}
