package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Advice values that package unix lacks.
const (
	madvDontNeedLocked = 24
	madvCollapse       = 25
)

// advice says what an advice of madvise(2) means here beyond what the host does for the translated range.
type advice struct {
	set, clear Flags
	discards   bool // drops contents
	populates  bool
}

// advices are the advices served. Linux refuses others with EINVAL, and so do we; of those it knows we refuse:
//
//	MADV_HWPOISON, MADV_SOFT_OFFLINE   they would damage the host's memory
//	MADV_GUARD_INSTALL, _REMOVE        Linux 6.13; its guard markers are invisible to the VMA list (callers fall back to
//	                                   mprotect, as on older kernels)
var advices = map[uint64]advice{
	unix.MADV_NORMAL:         {clear: RandomRead | SeqRead},
	unix.MADV_RANDOM:         {set: RandomRead, clear: SeqRead},
	unix.MADV_SEQUENTIAL:     {set: SeqRead, clear: RandomRead},
	unix.MADV_WILLNEED:       {},
	unix.MADV_DONTNEED:       {discards: true},
	unix.MADV_FREE:           {discards: true},
	unix.MADV_REMOVE:         {discards: true},
	unix.MADV_DONTFORK:       {set: DontFork},
	unix.MADV_DOFORK:         {clear: DontFork},
	unix.MADV_MERGEABLE:      {set: Mergeable},
	unix.MADV_UNMERGEABLE:    {clear: Mergeable},
	unix.MADV_HUGEPAGE:       {set: HugePage, clear: NoHugePage},
	unix.MADV_NOHUGEPAGE:     {set: NoHugePage, clear: HugePage},
	unix.MADV_DONTDUMP:       {set: DontDump},
	unix.MADV_DODUMP:         {clear: DontDump},
	unix.MADV_WIPEONFORK:     {set: WipeOnFork},
	unix.MADV_KEEPONFORK:     {clear: WipeOnFork},
	unix.MADV_COLD:           {},
	unix.MADV_PAGEOUT:        {},
	unix.MADV_POPULATE_READ:  {populates: true},
	unix.MADV_POPULATE_WRITE: {populates: true},
	madvDontNeedLocked:       {discards: true},
	madvCollapse:             {},
}

// Madvise is madvise(2).
func (as *AddressSpace) Madvise(addr, length, what uint64) uint64 {
	a, ok := advices[what]
	if !ok || addr&pageMask != 0 {
		return result(0, unix.EINVAL)
	}
	n := pageUp(length)
	if length != 0 && n == 0 || addr+n < addr {
		return result(0, unix.EINVAL)
	}
	if n == 0 {
		return 0
	}
	end, beyond := clip(addr, n)
	if end == addr {
		return result(0, unix.ENOMEM)
	}
	e := as.advise(addr, end, what, a)
	if e == 0 && beyond {
		e = unix.ENOMEM
	}
	return result(0, e)
}

// clip gives the end of [addr, addr+n) within the payload's addresses, and whether some of it is beyond.
func clip(addr, n uint64) (end uint64, beyond bool) {
	end = addr + n
	if end > usermem.Size || end < addr {
		return max(addr, usermem.Size), true
	}
	return end, false
}

func (as *AddressSpace) advise(addr, end, what uint64, a advice) unix.Errno {
	if a.populates {
		return as.advisePopulate(addr, end, what)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(addr, end)
	if a.discards {
		for v := range as.vmas.all(addr, end) {
			if v.Flags&Sealed != 0 && v.anonymous() && v.Prot&protWrite == 0 {
				return unix.EPERM
			}
		}
		as.disarmDiscarded(addr, end)
	}
	if as.vmas.n+as.cuts(addr, end) > as.maxMaps() && a.set|a.clear != 0 {
		return unix.ENOMEM
	}
	e := hostAdvise(addr, end-addr, what)
	if (e == 0 || e == unix.ENOMEM) && a.set|a.clear != 0 {
		as.update(addr, end, func(v *VMA) { v.Flags = v.Flags&^a.clear | a.set })
	}
	return e
}

// minDiscard is how much memory must be discarded at least for its next touches to be worth populating ahead.
const minDiscard = 16 * pageSize

// disarmDiscarded prepares for memory to be discarded. It removes the entries of anonymous memory, so that when it is
// touched again it can be populated ahead again.
func (as *AddressSpace) disarmDiscarded(addr, end uint64) {
	for v := range as.vmas.all(addr, end) {
		lo, hi := max(addr, v.Start), min(end, v.End)
		if v.Huge {
			as.unadviseHuge(v)
		}
		if v.anonymous() && v.Flags&Locked == 0 && hi-lo >= minDiscard {
			as.disarm(lo, hi)
		}
	}
}

// unreadable gives the first address within [addr, end) that is mapped without PROT_READ, end if there is none.
func (as *AddressSpace) unreadable(addr, end uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	for v := range as.vmas.all(addr, end) {
		if v.Prot&protRead == 0 {
			return max(addr, v.Start)
		}
	}
	return end
}

// advisePopulate populates without the lock, since it may take long, and then makes the entries.
func (as *AddressSpace) advisePopulate(addr, end, what uint64) unix.Errno {
	// The host lets everything be read that can be accessed at all; Linux refuses what lacks PROT_READ.
	stop := end
	if what == unix.MADV_POPULATE_READ {
		stop = as.unreadable(addr, end)
	}
	if stop > addr {
		if e := hostAdvise(addr, stop-addr, what); e != 0 {
			return e
		}
	}
	if stop < end {
		return unix.EINVAL
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	for v := range as.vmas.all(addr, end) {
		if as.install(v, max(addr, v.Start), min(end, v.extent())) != nil {
			break
		}
	}
	return 0
}
