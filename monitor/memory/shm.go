package memory

import (
	"fmt"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Flags of shmat(2) that package unix lacks.
const (
	shmRdOnly = 0o10000
	shmRnd    = 0o20000
	shmRemap  = 0o40000
	shmExec   = 0o100000
)

// Shmat is shmat(2).
func (as *AddressSpace) Shmat(id, addr, flags uint64) uint64 {
	switch {
	case int32(id) < 0, addr == 0 && flags&shmRemap != 0:
		return result(0, unix.EINVAL)
	case addr&pageMask != 0 && flags&shmRnd == 0:
		return result(0, unix.EINVAL)
	}
	fixed := addr != 0
	if addr = pageDown(addr); fixed && addr == 0 && flags&shmRemap != 0 {
		return result(0, unix.EINVAL)
	}
	var ds unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(int(int32(id)), unix.IPC_STAT, &ds); err != nil {
		return result(0, err.(unix.Errno))
	}
	m := &mapping{length: pageUp(uint64(ds.Segsz)), fd: noFD}
	m.v = VMA{Flags: File | Shared | SysV, Prot: protRead | protWrite, Dev: 1, Ino: uint64(uint32(id)),
		Name: fmt.Sprintf("/SYSV%08x (deleted)", uint32(ds.Perm.Key)), Extent: m.length}
	if flags&shmRdOnly != 0 {
		m.v.Prot = protRead
	}
	if flags&shmExec != 0 {
		m.v.Prot |= protExec
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	return result(as.attach(m, id, addr, flags, fixed))
}

func (as *AddressSpace) attach(m *mapping, id, addr, flags uint64, fixed bool) (uint64, unix.Errno) {
	mapFlags := uint64(unix.MAP_SHARED)
	if fixed {
		mapFlags |= unix.MAP_FIXED
		as.syncDown(addr, addr+m.length)
		if addr+m.length < addr || flags&shmRemap == 0 && as.vmas.overlaps(addr, addr+m.length) {
			return 0, unix.EINVAL
		}
	}
	if as.vmas.n >= as.maxMaps() {
		return 0, unix.ENOMEM
	}
	addr, e := as.place(m, addr, mapFlags, pageSize)
	if e != 0 {
		return 0, e
	}
	if as.tooLow(addr) {
		return 0, unix.EPERM
	}
	if e := as.mayReplace(addr, addr+m.length, &m.v); e != 0 {
		return 0, e
	}
	m.v.Start, m.v.End = addr, addr+m.length
	as.object++
	m.v.Object = as.object
	as.disarm(m.v.Start, m.v.End)
	_, _, e = unix.Syscall(unix.SYS_SHMAT, uintptr(id), host(addr), uintptr(flags&^shmRnd&^shmExec|shmRemap))
	as.changed()
	if e != 0 {
		return 0, e
	}
	v := m.v
	as.replace(v.Start, v.End, &v)
	return addr, 0
}

// Shmdt is shmdt(2): it unmaps what is left of the segment that was attached at addr.
func (as *AddressSpace) Shmdt(addr uint64) uint64 {
	if addr&pageMask != 0 || addr >= usermem.Size {
		return result(0, unix.EINVAL)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	var first *VMA
	var parts [][2]uint64
	for v := range as.vmas.all(addr, usermem.Size) {
		if first != nil && v.Start-addr >= first.Extent {
			break
		}
		if v.Flags&SysV == 0 || v.Start < addr || v.Start-addr != v.Offset || first != nil && v.Object != first.Object {
			continue
		}
		if first == nil {
			first = v
		}
		if v.Flags&Sealed != 0 {
			return result(0, unix.EPERM)
		}
		parts = append(parts, [2]uint64{v.Start, v.End})
	}
	if first == nil {
		return result(0, unix.EINVAL)
	}
	for _, p := range parts {
		if e := as.unmap(p[0], p[1]); e != 0 {
			return result(0, e)
		}
	}
	return 0
}
