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
	m := &mapping{length: end - start, fd: noFD, hostFlags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}
	m.v = VMA{Start: start, End: end, Prot: protRead | protWrite, Flags: as.future, Offset: start}
	if !as.mayExpand(&m.v, m.length) {
		return unix.ENOMEM
	}
	if as.future&Locked != 0 {
		m.hostFlags |= unix.MAP_LOCKED
	}
	if e := as.mapOver(m); e != 0 {
		return e
	}
	v := m.v
	as.replace(start, end, &v)
	if h := as.vmas.find(start); !as.carryOn(h, start, end) {
		as.eager(h, start, end)
	}
	return 0
}
