package memory

import (
	"kmdev/monitor/usermem"
)

// growDown extends a VMA that grows down to contain gva, as Linux's expand_stack does, and gives it; nil if there is none
// or it must not grow so far. The host mapping grows down too and the host's kernel decides: a touch there extends it
// within RLIMIT_STACK and above the guard gap, or fails. It may be ahead of the VMA list, because a system call of the
// payload has touched it. as.mu is held.
func (as *AddressSpace) growDown(gva uint64) *VMA {
	p := as.vmas.seek(gva)
	v := as.vmas.at(p)
	if v == nil || v.Flags&GrowsDown == 0 || gva < as.cfg.MinAddr {
		return nil
	}
	page := pageDown(gva)
	if !as.mayExpand(v, v.Start-page) {
		return nil
	}
	var b [1]byte
	if usermem.CopyIn(b[:], gva) != 0 {
		return nil
	}
	as.account(v, -1)
	v.Offset -= v.Start - page
	v.Start = page
	as.account(v, 1)
	as.vmas.touched(p)
	return v
}
