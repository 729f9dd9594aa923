package memory

import (
	"kmdev/monitor/usermem"
)

// The host mapping of memory that grows down grows down too, and the host's kernel decides how far: within RLIMIT_STACK and
// above the guard gap, as it does for any process (expand_stack). So a buffer that the payload hands to a system call may
// lie below what the payload itself has touched, and the VMA list may be behind the host. It is brought up to date where
// that matters: before a range next to such memory changes or is shown.

// growDown extends the VMA above gva, if it grows down, to contain gva, and gives it; nil if there is none or it must not
// grow so far. A stack that keeps growing is extended by as much as will be populated ahead. as.mu is held.
func (as *AddressSpace) growDown(gva uint64) *VMA {
	p := as.vmas.seek(gva)
	v := as.vmas.at(p)
	if v == nil || v.Flags&GrowsDown == 0 {
		return nil
	}
	page := pageDown(gva)
	if low := as.ahead.below(page); low < page && as.extendDown(p, v, low) {
		return v
	}
	if as.extendDown(p, v, page) {
		return v
	}
	return nil
}

// extendDown makes v, which is at p, start at low, if the host lets it.
func (as *AddressSpace) extendDown(p pos, v *VMA, low uint64) bool {
	prev, _ := as.vmas.before(p)
	if low < lowAddr && low < as.minAddr() || prev != nil && low < prev.End || !as.mayExpand(v, v.Start-low) {
		return false
	}
	// The touch extends the mapping even if its protection then forbids it.
	var b [1]byte
	if usermem.CopyIn(b[:], low) != 0 && !hostMapped(low) {
		return false
	}
	as.setStart(p, v, low)
	return true
}

func (as *AddressSpace) setStart(p pos, v *VMA, start uint64) {
	as.account(v, -1)
	v.Offset -= v.Start - start
	v.Start = start
	as.account(v, 1)
	as.vmas.touched(p)
}

// syncDown brings the VMAs of [start, end) that grow down, and the one above, up to date with the host.
func (as *AddressSpace) syncDown(start, end uint64) {
	if as.growing == 0 {
		return
	}
	for p := as.vmas.seek(start); ; p = as.vmas.next(p) {
		v := as.vmas.at(p)
		if v == nil {
			return
		}
		if v.Flags&GrowsDown != 0 {
			as.syncStart(p, v)
		}
		if v.Start >= end {
			return
		}
	}
}

func (as *AddressSpace) syncStart(p pos, v *VMA) {
	bottom := uint64(0)
	if prev, _ := as.vmas.before(p); prev != nil {
		bottom = prev.End
	}
	start := v.Start
	for start > bottom && hostMapped(start-pageSize) {
		start -= pageSize
	}
	if start < v.Start {
		as.setStart(p, v, start)
	}
}
