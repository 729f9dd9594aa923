package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const protSem = 0x8 // PROT_SEM

// Mprotect is mprotect(2).
func (as *AddressSpace) Mprotect(addr, length, prot uint64) uint64 {
	return result(0, as.mprotect(addr, length, prot))
}

// PkeyMprotect is pkey_mprotect(2). There are no protection keys, so the only key is -1.
func (as *AddressSpace) PkeyMprotect(addr, length, prot, key uint64) uint64 {
	if int32(key) != -1 {
		return result(0, unix.EINVAL)
	}
	return as.Mprotect(addr, length, prot)
}

func (as *AddressSpace) mprotect(addr, length, prot uint64) unix.Errno {
	grows := prot & (unix.PROT_GROWSDOWN | unix.PROT_GROWSUP)
	prot &^= unix.PROT_GROWSDOWN | unix.PROT_GROWSUP
	if grows == unix.PROT_GROWSDOWN|unix.PROT_GROWSUP || addr&pageMask != 0 {
		return unix.EINVAL
	}
	if length == 0 {
		return 0
	}
	end := addr + pageUp(length)
	if end <= addr {
		return unix.ENOMEM
	}
	if prot&^(protAll|protSem) != 0 {
		return unix.EINVAL
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(addr, end)
	v := as.vmas.at(as.vmas.seek(addr))
	switch {
	case v == nil || v.Start >= end, grows != unix.PROT_GROWSDOWN && v.Start > addr:
		return unix.ENOMEM
	case grows == unix.PROT_GROWSUP, grows == unix.PROT_GROWSDOWN && v.Flags&GrowsDown == 0:
		return unix.EINVAL
	case grows == unix.PROT_GROWSDOWN:
		addr = v.Start
	}
	return as.protectRange(addr, min(end, usermem.Size), end, uint32(prot)&protAll)
}

// protectRange changes VMA by VMA and stops at the first hole or refusal, like Linux: what came before stays changed.
func (as *AddressSpace) protectRange(addr, stop, end uint64, prot uint32) (e unix.Errno) {
	start := addr
	for addr < stop && e == 0 {
		v := as.vmas.find(addr)
		if v == nil {
			e = unix.ENOMEM
			break
		}
		next := min(v.End, stop)
		e = as.protect(v, addr, next, prot)
		addr = next
	}
	if e == 0 && stop < end {
		e = unix.ENOMEM
	}
	as.vmas.merge(start, addr)
	return e
}

// protect gives [start, end), which lies within v, another protection.
func (as *AddressSpace) protect(v *VMA, start, end uint64, prot uint32) unix.Errno {
	switch {
	case v.Flags&Sealed != 0:
		return unix.EPERM
	case prot == v.Prot:
		return 0
	case v.Flags&NoExec != 0 && prot&protExec != 0, v.hostBacked() && prot&(protWrite|protExec) != 0:
		return unix.EACCES
	case v.Page != 0 && (start%v.Page != 0 || end%v.Page != 0):
		return unix.EINVAL
	case as.vmas.n+as.cuts(start, end) > as.maxMaps():
		return unix.ENOMEM
	}
	if prot&protWrite != 0 && v.accountable() != (&VMA{Prot: prot, Flags: v.Flags}).accountable() &&
		as.data+end-start > as.cfg.Limit(unix.RLIMIT_DATA) {
		return unix.ENOMEM
	}
	if e := as.reprotect(v, start, end, prot); e != 0 {
		return e
	}
	as.vmas.cut(start)
	as.vmas.cut(end)
	v = as.vmas.find(start)
	as.account(v, -1)
	v.Prot = prot
	as.account(v, 1)
	as.watched()
	as.eagerProtect(v, start, end)
	return 0
}

// reprotect changes entries and host mapping in the order that lets no vCPU keep a right it has lost.
func (as *AddressSpace) reprotect(v *VMA, start, end uint64, prot uint32) unix.Errno {
	old, now := leafBits(v.Prot), leafBits(prot)
	loses := old != meet(old, now)
	gains := now != meet(old, now)
	if loses {
		as.tables.change(start, end, func(b uint64) uint64 { return meet(b, now) })
	}
	e := as.hostReprotect(v, start, end, prot, loses)
	if e != 0 {
		now = old // nothing has changed but the entries
		gains = loses
	}
	if gains {
		as.tables.change(start, end, func(uint64) uint64 { return now })
	}
	return e
}

func (as *AddressSpace) hostReprotect(v *VMA, start, end uint64, prot uint32, loses bool) unix.Errno {
	if v.hostBacked() {
		if loses {
			return as.forget()
		}
		return 0
	}
	was, is := hostProt(v.Prot), hostProt(prot)
	if was != is {
		defer as.changed()
		return hostProtect(start, end-start, is)
	}
	if loses {
		return as.rekey(start, end, is)
	}
	return 0
}

// rekey makes KVM drop what it holds for [start, end) although the host mapping stays as it is: taking the rights away
// and giving them back runs the MMU notifiers. If the host is out of mappings to split, KVM is made to forget all.
func (as *AddressSpace) rekey(start, end uint64, prot uint32) unix.Errno {
	if prot == 0 {
		return 0
	}
	defer as.changed()
	as.stats.Flips++
	if hostProtect(start, end-start, 0) == 0 && hostProtect(start, end-start, prot) == 0 {
		return 0
	}
	// Half of it may be without rights now; giving them to the whole VMA range needs no more mappings than there were.
	if e := hostProtect(start, end-start, prot); e != 0 {
		return e
	}
	return as.forget()
}
