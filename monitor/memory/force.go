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
	as.mu.Lock()
	defer as.mu.Unlock()
	for done < len(p) {
		at := gva + uint64(done)
		v := as.vmas.find(at)
		if v == nil {
			return done, fmt.Errorf("no memory at %#x: %w", at, unix.EFAULT)
		}
		n := min(uint64(len(p)-done), v.End-at)
		m := as.forceVMA(v, at, p[done:done+int(n)], k)
		done += m
		if m == 0 {
			return done, fmt.Errorf("memory at %#x can't be accessed: %w", at, unix.EFAULT)
		}
	}
	return done, nil
}

// forceVMA moves p, which lies within v, or the start of it. /proc/self/mem overrides protections (FOLL_FORCE) unless the
// host has been told otherwise (proc_mem.force_override); then the host mapping's is changed for a moment.
func (as *AddressSpace) forceVMA(v *VMA, at uint64, p []byte, k forceKind) int {
	if fd, ok := as.mem(); ok {
		if m, err := k.mem(fd, p, int64(host(at))); err == nil && m > 0 {
			return m
		}
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

// mem gives /proc/self/mem, opened at first use. as.mu is held.
func (as *AddressSpace) mem() (int, bool) {
	if as.memFD >= 0 {
		return as.memFD, true
	}
	fd, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, false
	}
	if as.cfg.Relocate != nil {
		if fd, err = as.cfg.Relocate(fd); err != nil {
			unix.Close(fd)
			return -1, false
		}
	}
	as.memFD = fd
	return fd, true
}
