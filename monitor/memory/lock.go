package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const lockFlags = Locked | LockOnFault

// span is the whole pages that [addr, addr+length) touches, as mlock(2) and munlock(2) count them.
func lockSpan(addr, length uint64) (start, end uint64, e unix.Errno) {
	length = pageUp(length + addr&pageMask)
	start = pageDown(addr)
	end = start + length
	switch {
	case end < start:
		return 0, 0, unix.EINVAL
	case end > usermem.Size:
		return 0, 0, unix.ENOMEM
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
	as.mu.Lock()
	defer as.mu.Unlock()
	return result(0, as.lockRange(start, end, flags))
}

// lockRange locks on the host, whose limits (RLIMIT_MEMLOCK) count the payload's memory only: the monitor locks nothing.
func (as *AddressSpace) lockRange(start, end, flags uint64) unix.Errno {
	var e unix.Errno
	if flags == 0 {
		_, _, e = unix.Syscall(unix.SYS_MLOCK, host(start), uintptr(end-start), 0)
	} else {
		_, _, e = unix.Syscall(unix.SYS_MLOCK2, host(start), uintptr(end-start), uintptr(flags))
	}
	if e != 0 || start == end {
		return e
	}
	set := Locked
	if flags&unix.MLOCK_ONFAULT != 0 {
		set |= LockOnFault
	}
	as.update(start, end, func(v *VMA) { v.Flags = v.Flags&^lockFlags | set })
	if set == Locked {
		for v := range as.vmas.all(start, end) {
			if as.install(v, max(start, v.Start), min(end, v.extent())) != nil {
				break
			}
		}
	}
	return 0
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
	if _, _, e := unix.Syscall(unix.SYS_MUNLOCK, host(start), uintptr(end-start), 0); e != 0 {
		return e
	}
	as.update(start, end, func(v *VMA) { v.Flags &^= lockFlags })
	return 0
}

// Mlockall is mlockall(2). The host's own would lock the monitor as well.
func (as *AddressSpace) Mlockall(flags uint64) uint64 {
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) != 0 || flags == unix.MCL_ONFAULT {
		return result(0, unix.EINVAL)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	limit := as.cfg.Limit(unix.RLIMIT_MEMLOCK)
	capable := hasCapability(capIPCLock)
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
