package memory

import (
	"kmdev/monitor/usermem"
)

// growDown extends a VMA that grows down to contain gva, as Linux's expand_stack does, and gives it; nil if there is none
// or it must not grow so far. The host mapping grows down too and the host's kernel decides: a touch there extends it
// within RLIMIT_STACK and above the guard gap, or fails. It may be ahead of the VMA list, because a system call of the
// payload has touched it. A stack that keeps growing is extended by as much as will be populated ahead. as.mu is held.
func (as *AddressSpace) growDown(gva uint64) *VMA {
	p := as.vmas.seek(gva)
	v := as.vmas.at(p)
	if v == nil || v.Flags&GrowsDown == 0 || gva < as.cfg.MinAddr {
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

// extendDown makes v, which is at p, start at low if the host lets it.
func (as *AddressSpace) extendDown(p pos, v *VMA, low uint64) bool {
	if prev, _ := as.vmas.before(p); low < as.cfg.MinAddr || prev != nil && low < prev.End || !as.mayExpand(v, v.Start-low) {
		return false
	}
	var b [1]byte
	if usermem.CopyIn(b[:], low) != 0 {
		return false
	}
	as.account(v, -1)
	v.Offset -= v.Start - low
	v.Start = low
	as.account(v, 1)
	as.vmas.touched(p)
	return true
}
