package monitor

import (
	"golang.org/x/sys/unix"
)

// memoryCalls are the hypercalls that change the address space; package memory does the work.
var memoryCalls = map[int]handler{
	unix.SYS_MMAP: func(t *Thread, a *[6]uint64) uint64 {
		if a[3]&unix.MAP_ANONYMOUS == 0 && int32(a[4]) >= int32(t.FDLimit()) {
			return fail(unix.EBADF)
		}
		return t.m.as.Mmap(a[0], a[1], a[2], a[3], a[4], a[5])
	},
	unix.SYS_MUNMAP:   func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Munmap(a[0], a[1]) },
	unix.SYS_MPROTECT: func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mprotect(a[0], a[1], a[2]) },
	unix.SYS_PKEY_MPROTECT: func(t *Thread, a *[6]uint64) uint64 {
		if int32(a[3]) != -1 {
			return fail(unix.EINVAL)
		}
		return t.m.as.Mprotect(a[0], a[1], a[2])
	},
	unix.SYS_MREMAP:  func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mremap(a[0], a[1], a[2], a[3], a[4]) },
	unix.SYS_BRK:     func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Brk(a[0]) },
	unix.SYS_MADVISE: func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Madvise(a[0], a[1], a[2]) },
	unix.SYS_MINCORE: func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mincore(a[0], a[1], a[2]) },
	unix.SYS_MSYNC:   func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Msync(a[0], a[1], a[2]) },
	unix.SYS_MLOCK:   func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mlock2(a[0], a[1], 0) },
	unix.SYS_MLOCK2:  func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mlock2(a[0], a[1], a[2]) },
	unix.SYS_MUNLOCK: func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Munlock(a[0], a[1]) },
	unix.SYS_MLOCKALL: func(t *Thread, a *[6]uint64) uint64 {
		return t.m.as.Mlockall(a[0])
	},
	unix.SYS_MUNLOCKALL: func(t *Thread, _ *[6]uint64) uint64 { return t.m.as.Munlockall() },
	unix.SYS_SHMAT:      func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Shmat(a[0], a[1], a[2]) },
	unix.SYS_SHMDT:      func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Shmdt(a[0]) },
	unix.SYS_MSEAL:      func(t *Thread, a *[6]uint64) uint64 { return t.m.as.Mseal(a[0], a[1], a[2]) },
	unix.SYS_REMAP_FILE_PAGES: func(t *Thread, a *[6]uint64) uint64 {
		return t.m.as.RemapFilePages(a[0], a[1], a[2], a[3], a[4])
	},
}

// MapAnonymous, Unmap and Madvise are hypercall.Process's.
func (m *Machine) MapAnonymous(size uint64) uint64 {
	return m.as.Mmap(0, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, 0, 0)
}

func (m *Machine) Unmap(gva, size uint64) { m.as.Munmap(gva, size) }

func (m *Machine) Madvise(gva, size, behavior uint64) uint64 {
	return m.as.Madvise(gva, size, behavior)
}
