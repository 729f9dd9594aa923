package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const lockFlags = Locked | LockOnFault

// lockSpan is the whole pages that [addr, addr+length) touches, as mlock(2) and munlock(2) count them.
func lockSpan(addr, length uint64) (start, end uint64, e unix.Errno) {
	length = pageUp(length + addr&pageMask)
	start = pageDown(addr)
	end = start + length
	if end < start {
		return 0, 0, unix.EINVAL
	}
	return start, end, 0
}

// Mlock is mlock(2).
func (as *AddressSpace) Mlock(addr, length uint64) uint64 { return as.lock(addr, length, 0) }

// Mlock2 is mlock2(2).
func (as *AddressSpace) Mlock2(addr, length, flags uint64) uint64 {
	if flags&^unix.MLOCK_ONFAULT != 0 {
		return result(0, unix.EINVAL)
	}
	return as.lock(addr, length, flags)
}

func (as *AddressSpace) lock(addr, length, flags uint64) uint64 {
	start, end, e := lockSpan(addr, length)
	if e != 0 {
		return result(0, e)
	}
	if flags == 0 && as.populatesLocked(start, end) {
		as.bringIn(start, end)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	return result(0, as.lockRange(start, end, flags))
}

// populatesLocked tells whether mlock(2) of [start, end) will get so far as to populate it.
func (as *AddressSpace) populatesLocked(start, end uint64) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	return end <= usermem.Size && as.firstHole(start, end) == end && as.mayLock(start, end)
}

// bringIn populates [start, end) as mlock(2) is going to. It may take long and wait for other threads of the payload (a file
// system may be one), so it is done without the lock, and what it does not achieve is left to mlock.
func (as *AddressSpace) bringIn(start, end uint64) {
	for start < end {
		w, ok := as.nextToLock(start, end)
		if !ok {
			return
		}
		if w.advice != 0 && as.generation.Load() == w.generation {
			hostAdvise(w.start, w.end-w.start, w.advice)
		}
		start = w.end
	}
}

// nextToLock gives the first mapping within [start, end), and how to populate it.
func (as *AddressSpace) nextToLock(start, end uint64) (w window, ok bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	v := as.vmas.at(as.vmas.seek(start))
	if v == nil || v.Start >= end {
		return w, false
	}
	w = as.window(max(start, v.Start), min(end, v.End), unix.MADV_POPULATE_READ)
	switch {
	case v.hostBacked() || v.Prot&protAll == 0:
		w.advice = 0
	case v.Prot&protWrite != 0 && v.Flags&Shared == 0:
		w.advice = unix.MADV_POPULATE_WRITE
	}
	return w, true
}

// lockRange locks on the host, whose limits (RLIMIT_MEMLOCK) count the payload's memory only: the monitor locks nothing.
func (as *AddressSpace) lockRange(start, end, flags uint64) unix.Errno {
	as.syncDown(start, end)
	var e unix.Errno
	stop := min(end, max(start, usermem.Size))
	if flags == 0 { // mlock2 is Linux 4.4
		_, _, e = unix.Syscall(unix.SYS_MLOCK, host(start), uintptr(stop-start), 0)
	} else {
		_, _, e = unix.Syscall(unix.SYS_MLOCK2, host(start), uintptr(stop-start), uintptr(flags))
	}
	if e == 0 && stop < end {
		e = unix.ENOMEM
	}
	set := Locked
	if flags&unix.MLOCK_ONFAULT != 0 {
		set |= LockOnFault
	}
	if e == 0 || e == unix.ENOMEM && as.mayLock(start, end) {
		as.setLock(start, end, set)
	}
	return e
}

// mayLock tells whether locking [start, end) is within RLIMIT_MEMLOCK. If it is and mlock fails all the same, Linux has
// locked what comes before the first hole.
func (as *AddressSpace) mayLock(start, end uint64) bool {
	locked := end - start
	for v := range as.vmas.all(0, usermem.Size) {
		if v.Flags&Locked == 0 {
			continue
		}
		locked += v.size()
		if v.Start < end && start < v.End {
			locked -= min(v.End, end) - max(v.Start, start)
		}
	}
	return locked <= as.cfg.Limit(unix.RLIMIT_MEMLOCK) || hasCapability(capIPCLock)
}

// setLock gives the VMAs from start to end or the first hole the lock flags given, and entries if their pages are in memory.
func (as *AddressSpace) setLock(start, end uint64, set Flags) {
	if end = as.firstHole(start, end); start == end {
		return
	}
	as.update(start, end, func(v *VMA) { v.Flags = v.Flags&^lockFlags | set })
	if set != Locked {
		return
	}
	for v := range as.vmas.all(start, end) {
		if as.install(v, max(start, v.Start), min(end, v.extent())) != nil {
			return
		}
	}
}

// firstHole gives the first address within [start, end) that is not mapped, end if there is none.
func (as *AddressSpace) firstHole(start, end uint64) uint64 {
	at := start
	for v := range as.vmas.all(start, end) {
		if v.Start > at {
			break
		}
		at = min(v.End, end)
	}
	return at
}

// Munlock is munlock(2).
func (as *AddressSpace) Munlock(addr, length uint64) uint64 {
	start, end, e := lockSpan(addr, length)
	if e != 0 {
		return result(0, e)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	return result(0, as.unlockRange(start, end))
}

func (as *AddressSpace) unlockRange(start, end uint64) unix.Errno {
	stop := min(end, max(start, usermem.Size))
	_, _, e := unix.Syscall(unix.SYS_MUNLOCK, host(start), uintptr(stop-start), 0)
	if e == 0 && stop < end {
		e = unix.ENOMEM
	}
	if e == 0 || e == unix.ENOMEM {
		as.setLock(start, end, 0)
	}
	return e
}

// Mlockall is mlockall(2). The host's own would lock the monitor as well.
func (as *AddressSpace) Mlockall(flags uint64) uint64 {
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) != 0 || flags == unix.MCL_ONFAULT {
		return result(0, unix.EINVAL)
	}
	limit := as.cfg.Limit(unix.RLIMIT_MEMLOCK)
	capable := hasCapability(capIPCLock)
	if flags&(unix.MCL_CURRENT|unix.MCL_ONFAULT) == unix.MCL_CURRENT && as.mayLockAll(limit, capable) {
		as.bringIn(0, usermem.Size)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if limit == 0 && !capable {
		return result(0, unix.EPERM)
	}
	if flags&unix.MCL_CURRENT != 0 && as.total > limit && !capable {
		return result(0, unix.ENOMEM)
	}
	as.future = 0
	var how uint64
	set := Locked
	if flags&unix.MCL_ONFAULT != 0 {
		how, set = unix.MLOCK_ONFAULT, lockFlags
	}
	if flags&unix.MCL_FUTURE != 0 {
		as.future = set
	}
	if flags&unix.MCL_CURRENT != 0 {
		as.eachRange(func(start, end uint64) { as.lockRange(start, end, how) })
	}
	return 0
}

func (as *AddressSpace) mayLockAll(limit uint64, capable bool) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	return capable || limit != 0 && as.total <= limit
}

// Munlockall is munlockall(2).
func (as *AddressSpace) Munlockall() uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.future = 0
	as.eachRange(func(start, end uint64) { as.unlockRange(start, end) })
	return 0
}

// eachRange calls f for the bounds of every VMA; f may change the list.
func (as *AddressSpace) eachRange(f func(start, end uint64)) {
	for at := uint64(0); ; {
		v := as.vmas.at(as.vmas.seek(at))
		if v == nil {
			return
		}
		start, end := v.Start, v.End
		f(start, end)
		at = end
	}
}

const capIPCLock, capSysRawIO = 14, 17

// hasCapability tells whether the calling thread has a capability in effect.
func hasCapability(n uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[n/32].Effective>>(n%32)&1 != 0
}
