package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const (
	protRead  = unix.PROT_READ
	protWrite = unix.PROT_WRITE
	protExec  = unix.PROT_EXEC
)

// host gives the host address of a payload address.
func host(gva uint64) uintptr { return uintptr(usermem.Window + gva) }

func hostMap(gva, length uint64, prot uint32, flags, fd, off uint64) unix.Errno {
	_, _, e := unix.Syscall6(unix.SYS_MMAP, host(gva), uintptr(length), uintptr(hostProt(prot)),
		uintptr(flags|unix.MAP_FIXED), uintptr(fd), uintptr(off))
	return e
}

func hostUnmap(gva, length uint64) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_MUNMAP, host(gva), uintptr(length), 0)
	return e
}

func hostProtect(gva, length uint64, hostProt uint32) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_MPROTECT, host(gva), uintptr(length), uintptr(hostProt))
	return e
}

func hostAdvise(gva, length, advice uint64) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_MADVISE, host(gva), uintptr(length), uintptr(advice))
	return e
}

// result is a system call's result in the kernel's convention.
func result(v uint64, e unix.Errno) uint64 {
	if e != 0 {
		return -uint64(e)
	}
	return v
}
