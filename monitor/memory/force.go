package memory

import (
	"fmt"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// ForceRead reads payload memory for a debugger, whatever its protection, and gives how much it could read.
func (as *AddressSpace) ForceRead(gva uint64, p []byte) (int, error) {
	return as.force(gva, p, forceRead)
}

// ForceWrite writes payload memory for a debugger, whatever its protection, and gives how much it could write. A private
// page gets a copy of its own first, so a file never changes; a shared mapping that the payload can't write to is refused,
// for the write would go to the file.
func (as *AddressSpace) ForceWrite(gva uint64, p []byte) (int, error) {
	return as.force(gva, p, forceWrite)
}

// forceKind is one of the two directions.
type forceKind struct {
	mem  func(fd int, p []byte, off int64) (int, error)
	copy func(gva uint64, p []byte) unix.Errno
	prot uint32 // that copy needs
}

var (
	forceRead = forceKind{unix.Pread, func(gva uint64, p []byte) unix.Errno { return usermem.CopyIn(p, gva) }, protRead}
	// A page that is copied on write is another one for KVM too, by an MMU notifier.
	forceWrite = forceKind{unix.Pwrite, usermem.CopyOut, protRead | protWrite}
)

func (as *AddressSpace) force(gva uint64, p []byte, k forceKind) (done int, err error) {
	for done < len(p) {
		at := gva + uint64(done)
		v, fd, ok := as.forceTarget(at)
		if !ok {
			return done, fmt.Errorf("no memory at %#x: %w", at, unix.EFAULT)
		}
		part := p[done:min(uint64(len(p)), uint64(done)+v.End-at)]
		// Without the lock: the page may have to be read from a file first. If it has gone meanwhile, so be it.
		m := 0
		if fd >= 0 {
			m, _ = k.mem(fd, part, int64(host(at)))
		}
		if m <= 0 {
			m = as.forceUnder(at, part, k)
		}
		if m == 0 {
			return done, fmt.Errorf("memory at %#x can't be accessed: %w", at, unix.EFAULT)
		}
		done += m
	}
	return done, nil
}

// forceTarget gives a copy of the VMA at gva, and /proc/self/mem, -1 if it can't be had.
func (as *AddressSpace) forceTarget(gva uint64) (v VMA, fd int, ok bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	found := as.vmas.find(gva)
	if found == nil {
		return v, -1, false
	}
	return *found, as.mem(), true
}

// forceUnder moves p, or the start of it, where the host's /proc/self/mem does not override protections (FOLL_FORCE), as it
// has been told (proc_mem.force_override): the mapping's is changed for a moment.
func (as *AddressSpace) forceUnder(at uint64, p []byte, k forceKind) int {
	as.mu.Lock()
	defer as.mu.Unlock()
	v := as.vmas.find(at)
	if v == nil {
		return 0
	}
	page, has := pageDown(at), hostProt(v.Prot)
	p = p[:min(uint64(len(p)), page+pageSize-at)]
	if has&k.prot != k.prot {
		if v.Flags&Shared != 0 && k.prot&protWrite != 0 || hostProtect(page, pageSize, k.prot|has) != 0 {
			return 0
		}
		defer as.changed()
		defer hostProtect(page, pageSize, has)
	}
	if k.copy(at, p) != 0 {
		return 0
	}
	return len(p)
}

// OpenMem opens what ForceRead and ForceWrite need, if it is not open yet.
func (as *AddressSpace) OpenMem() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.mem()
}

// mem gives /proc/self/mem, opened at first use, or -1. as.mu is held.
func (as *AddressSpace) mem() int {
	if as.memFD >= 0 {
		return as.memFD
	}
	fd, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if as.cfg.Relocate != nil {
		if fd, err = as.cfg.Relocate(fd); err != nil {
			unix.Close(fd)
			return -1
		}
	}
	as.memFD = fd
	return fd
}
