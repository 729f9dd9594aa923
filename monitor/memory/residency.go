package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Mincore is mincore(2). The host writes the vector itself.
func (as *AddressSpace) Mincore(addr, length, vec uint64) uint64 {
	if addr&pageMask != 0 {
		return result(0, unix.EINVAL)
	}
	if addr > usermem.Size || length > usermem.Size-addr {
		return result(0, unix.ENOMEM)
	}
	if pages := (length + pageMask) / pageSize; vec > usermem.Size || pages > usermem.Size-vec {
		return result(0, unix.EFAULT)
	}
	_, _, e := unix.Syscall(unix.SYS_MINCORE, host(addr), uintptr(length), host(vec))
	return result(0, e)
}

// Msync is msync(2).
func (as *AddressSpace) Msync(addr, length, flags uint64) uint64 {
	if flags&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || addr&pageMask != 0 ||
		flags&unix.MS_ASYNC != 0 && flags&unix.MS_SYNC != 0 {
		return result(0, unix.EINVAL)
	}
	n := pageUp(length)
	if addr+n < addr || addr > usermem.Size {
		return result(0, unix.ENOMEM)
	}
	end, beyond := clip(addr, n)
	_, _, e := unix.Syscall(unix.SYS_MSYNC, host(addr), uintptr(end-addr), uintptr(flags))
	if e == 0 && beyond {
		e = unix.ENOMEM
	}
	return result(0, e)
}

// RemapFilePages is remap_file_pages(2), which Linux emulates by a new mapping as well.
func (as *AddressSpace) RemapFilePages(addr, size, prot, pgoff, flags uint64) uint64 {
	start, size := pageDown(addr), pageDown(size)
	off := pgoff * pageSize
	if prot != 0 || start+size <= start || start+size > usermem.Size || off/pageSize != pgoff || off+size < off {
		return result(0, unix.EINVAL)
	}
	end := start + size
	as.mu.Lock()
	defer as.mu.Unlock()
	v := as.vmas.find(start)
	if v == nil || v.Flags&Shared == 0 || v.Flags&(SysV|Special) != 0 {
		return result(0, unix.EINVAL)
	}
	if v.Flags&Sealed != 0 {
		return result(0, unix.EPERM)
	}
	w := *v
	w.Start, w.End, w.Offset = start, end, off
	if as.firstHole(start, end) < end {
		return result(0, unix.EINVAL)
	}
	for o := range as.vmas.all(start, end) {
		if o.Dev != v.Dev || o.Ino != v.Ino || o.Object != v.Object || o.Flags != v.Flags || o.Prot != v.Prot {
			return result(0, unix.EINVAL)
		}
	}
	as.disarm(start, end)
	_, _, e := unix.Syscall6(unix.SYS_REMAP_FILE_PAGES, host(start), uintptr(size), 0, uintptr(pgoff), uintptr(flags), 0)
	as.changed()
	if e == 0 {
		as.replace(start, end, &w)
	}
	return result(0, e)
}

// Mseal is mseal(2). The seal is the VMA list's alone: the monitor itself must still change host mappings.
func (as *AddressSpace) Mseal(addr, length, flags uint64) uint64 {
	n := pageUp(length)
	if flags != 0 || addr&pageMask != 0 || length != 0 && n == 0 || addr+n < addr {
		return result(0, unix.EINVAL)
	}
	if n == 0 {
		return 0
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	end := addr + n
	as.syncDown(addr, end)
	if as.firstHole(addr, end) < end {
		return result(0, unix.ENOMEM)
	}
	if as.vmas.n+as.cuts(addr, end) > as.maxMaps() {
		return result(0, unix.ENOMEM)
	}
	as.update(addr, end, func(v *VMA) { v.Flags |= Sealed })
	return 0
}
