package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// remap is one call of mremap(2) with lengths rounded to pages.
type remap struct {
	old, oldLen uint64
	new, newLen uint64 // new is valid if placed
	flags       uint64
}

func (r *remap) fixed() bool     { return r.flags&unix.MREMAP_FIXED != 0 }
func (r *remap) dontUnmap() bool { return r.flags&unix.MREMAP_DONTUNMAP != 0 }

// Mremap is mremap(2) as Linux 6.17 has it: a pure move may span several VMAs.
func (as *AddressSpace) Mremap(old, oldLen, newLen, flags, newAddr uint64) uint64 {
	r := &remap{old: old, oldLen: pageUp(oldLen), new: newAddr, newLen: pageUp(newLen), flags: flags}
	as.mu.Lock()
	defer as.mu.Unlock()
	if e := as.checkRemap(r); e != 0 {
		return result(0, e)
	}
	as.syncDown(r.old, r.old+r.oldLen)
	if r.fixed() {
		as.syncDown(r.new, r.new+r.newLen)
	}
	if r.fixed() && r.oldLen == r.newLen {
		return result(r.new, as.moveAll(r))
	}
	v := as.vmas.find(r.old)
	if e := as.checkRemapVMA(r, v); e != 0 {
		return result(0, e)
	}
	switch {
	case r.fixed() || r.dontUnmap():
		return result(as.remapTo(r))
	case r.newLen == r.oldLen:
		return r.old
	case r.newLen < r.oldLen:
		return result(r.old, as.munmap(r.old+r.newLen, r.oldLen-r.newLen))
	}
	return result(as.expand(r, v))
}

// checkRemap is check_mremap_params.
func (as *AddressSpace) checkRemap(r *remap) unix.Errno {
	switch {
	case r.flags&^(unix.MREMAP_FIXED|unix.MREMAP_MAYMOVE|unix.MREMAP_DONTUNMAP) != 0,
		r.old&pageMask != 0, r.newLen == 0, r.newLen > usermem.Size:
		return unix.EINVAL
	case !r.fixed() && !r.dontUnmap():
		return 0
	case r.new > usermem.Size-r.newLen, r.new&pageMask != 0, r.flags&unix.MREMAP_MAYMOVE == 0,
		r.dontUnmap() && r.oldLen != r.newLen,
		r.old+r.oldLen > r.new && r.new+r.newLen > r.old:
		return unix.EINVAL
	case as.vmas.n+2 >= as.maxMaps()-3:
		return unix.ENOMEM
	}
	return 0
}

// checkRemapVMA is check_prep_vma.
func (as *AddressSpace) checkRemapVMA(r *remap, v *VMA) unix.Errno {
	switch {
	case v == nil:
		return unix.EFAULT
	case v.Flags&Sealed != 0:
		return unix.EPERM
	case v.Page != 0 && (r.old%v.Page != 0 || r.oldLen%v.Page != 0 || r.newLen%v.Page != 0 || r.fixed() && r.new%v.Page != 0):
		return unix.EINVAL
	}
	moves := r.fixed() || r.dontUnmap()
	if !moves && r.newLen <= r.oldLen {
		return 0
	}
	kept := min(r.oldLen, r.newLen)
	switch {
	case r.oldLen == 0 && v.Flags&Shared == 0, r.dontUnmap() && v.Flags&Special != 0:
		return unix.EINVAL
	case kept > v.End-r.old:
		return unix.EFAULT
	case r.newLen <= r.oldLen:
		return 0
	case v.Offset+(r.old-v.Start)+r.newLen < v.Offset:
		return unix.EINVAL
	case v.Flags&Special != 0:
		return unix.EFAULT
	case !as.mayExpand(v, r.newLen-r.oldLen):
		return unix.ENOMEM
	}
	return 0
}

// expand grows a mapping in place if what follows is free, else moves it.
func (as *AddressSpace) expand(r *remap, v *VMA) (uint64, unix.Errno) {
	end := r.old + r.oldLen
	if v.End == end && r.oldLen != 0 && r.old+r.newLen <= usermem.Size && !as.vmas.overlaps(end, r.old+r.newLen) {
		as.unadviseHuge(v)
		if e := hostExpand(v, r.old, r.oldLen, r.newLen); e != 0 {
			return 0, e
		}
		as.account(v, -1)
		v.End = r.old + r.newLen
		as.account(v, 1)
		as.vmas.touched(as.vmas.seek(r.old))
		as.vmas.merge(end, v.End)
		as.watched()
		return r.old, 0
	}
	if r.flags&unix.MREMAP_MAYMOVE == 0 {
		return 0, unix.ENOMEM
	}
	return as.placeAndMove(r, v, 0)
}

func (as *AddressSpace) placeAndMove(r *remap, v *VMA, hint uint64) (uint64, unix.Errno) {
	m := &mapping{v: *v, length: r.newLen}
	align := max(v.Page, pageSize)
	addr, e := as.place(m, hint, 0, align)
	if e != 0 {
		return 0, e
	}
	if as.tooLow(addr) {
		return 0, unix.EPERM
	}
	r.new = addr
	return addr, as.move(r, v)
}

// remapTo is mremap_to: to a given address, or with MREMAP_DONTUNMAP near one.
func (as *AddressSpace) remapTo(r *remap) (uint64, unix.Errno) {
	v := as.vmas.find(r.old)
	if r.dontUnmap() && !as.mayExpand(v, r.newLen) {
		return 0, unix.ENOMEM
	}
	if !r.fixed() {
		return as.placeAndMove(r, v, r.new)
	}
	switch {
	case as.tooLow(r.new):
		return 0, unix.EPERM
	case as.sealed(r.new, r.new+r.newLen):
		return 0, unix.EPERM
	case r.oldLen <= r.newLen:
		return r.new, as.move(r, v)
	case r.oldLen > usermem.Size-r.old: // what is beyond can't be unmapped; Linux finds out when the target is gone
		if e := as.munmap(r.new, r.newLen); e != 0 {
			return 0, e
		}
		if as.vmas.find(r.old) == nil { // the ranges overlapped, where their sum wraps
			return 0, unix.EFAULT
		}
		return 0, unix.EINVAL
	case as.sealed(r.old+r.newLen, r.old+r.oldLen):
		return 0, unix.EPERM
	}
	return r.new, as.move(r, v)
}

// sealed tells whether any of [start, end) is sealed.
func (as *AddressSpace) sealed(start, end uint64) bool {
	for v := range as.vmas.all(start, end) {
		if v.Flags&Sealed != 0 {
			return true
		}
	}
	return false
}

// moveAll is remap_move: each VMA within the old range goes to the same place of the new one.
func (as *AddressSpace) moveAll(r *remap) unix.Errno {
	if as.tooLow(r.new) {
		return unix.EPERM
	}
	end := r.old + r.oldLen
	if as.vmas.find(r.old) == nil {
		return unix.EFAULT
	}
	for at := r.old; at < end; {
		v := as.vmas.at(as.vmas.seek(at))
		if v == nil || v.Start >= end {
			break
		}
		at = max(at, v.Start)
		stop := min(end, v.End)
		part := &remap{old: at, oldLen: stop - at, new: r.new + at - r.old, newLen: stop - at, flags: r.flags}
		if e := as.checkRemapVMA(part, v); e != 0 {
			return e
		}
		if _, e := as.remapTo(part); e != 0 {
			return e
		}
		at = stop
	}
	return 0
}

// move moves [old, old+newLen), which starts within v, over what is at new, and unmaps the rest of [old, old+oldLen).
// Everything lies within the payload's addresses.
func (as *AddressSpace) move(r *remap, v *VMA) unix.Errno {
	if as.vmas.n >= as.maxMaps()-3 {
		return unix.ENOMEM
	}
	oldEnd, newEnd := r.old+r.oldLen, r.new+r.newLen
	as.unadviseHuge(v)
	w := *v.from(r.old)
	w.Start, w.End = r.new, newEnd
	inUse := as.tables.firstPresent(r.old, oldEnd) < oldEnd
	if w.Flags&File == 0 && !inUse {
		w.Offset = r.new
	}
	as.disarm(r.new, newEnd)
	as.ahead.move(r.old, oldEnd, r.new)
	as.tables.clear(r.old, oldEnd)
	if e := as.hostMove(r, v); e != 0 {
		as.dropUnmapped(r.new, newEnd)
		as.dropUnmapped(min(r.old+r.newLen, oldEnd), oldEnd)
		return e
	}
	switch {
	case r.dontUnmap():
		// Linux takes the lock off the whole VMA that the range was a part of (dontunmap_complete).
		as.update(v.Start, v.End, func(o *VMA) { o.Flags &^= lockFlags })
	case r.oldLen != 0: // else it is a second mapping of shared memory
		as.replace(r.old, oldEnd, nil)
	}
	as.replace(w.Start, w.End, &w)
	as.rearm(r, inUse)
	return 0
}

// dropUnmapped takes out of the list what the host has unmapped in a call that failed later on.
func (as *AddressSpace) dropUnmapped(start, end uint64) {
	v := as.vmas.at(as.vmas.seek(start))
	if v != nil && v.Start < end && !hostMapped(max(start, v.Start)) {
		as.replace(start, end, nil)
	}
}

// rearm makes the entries for what was moved.
func (as *AddressSpace) rearm(r *remap, inUse bool) {
	v := as.vmas.find(r.new)
	if inUse {
		if as.install(v, r.new, min(r.new+min(r.oldLen, r.newLen), v.extent())) != nil {
			as.disarm(r.new, r.new+r.newLen)
		}
	}
	as.reclaim()
}

func (as *AddressSpace) hostMove(r *remap, v *VMA) unix.Errno {
	defer as.changed()
	if v.hostBacked() { // nothing is there on the host
		hostUnmap(r.new, r.newLen)
		return as.forget()
	}
	flags := uint64(unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED)
	if r.dontUnmap() {
		flags |= unix.MREMAP_DONTUNMAP
	}
	_, e := hostRemap(r.old, r.oldLen, r.newLen, flags, r.new)
	if e == unix.EFAULT && v.Advised {
		e = movePieces(r, flags)
	}
	return e
}

func hostRemap(old, oldLen, newLen, flags, newAddr uint64) (uint64, unix.Errno) {
	a, _, e := unix.Syscall6(unix.SYS_MREMAP, host(old), uintptr(oldLen), uintptr(newLen), uintptr(flags), host(newAddr), 0)
	return uint64(a) - usermem.Window, e
}
