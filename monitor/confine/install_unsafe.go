package confine

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Marker is a prctl option that no kernel has. A monitor's filter answers it with MarkerErrno, so a process can ask whether it has
// one, whoever installed it.
const (
	Marker      = 0x6b6d6465 // "kmde"
	MarkerErrno = 2989
)

// sockFprog is struct sock_fprog (linux/filter.h).
type sockFprog struct {
	len    uint16
	filter *uint64
}

// forced is set if Install had to set no_new_privs in a process that did not have it.
var forced atomic.Bool

// Active tells whether the calling process has a monitor's filter.
func Active() bool {
	_, _, e := unix.RawSyscall6(unix.SYS_PRCTL, Marker, 0, 0, 0, 0, 0)
	return e == MarkerErrno
}

// ForcedNoNewPrivs tells whether no_new_privs is the filter's and not the payload's.
func ForcedNoNewPrivs() bool { return forced.Load() }

// Install puts the filter on all threads of the process, unless they have it. Without CAP_SYS_ADMIN the kernel demands
// no_new_privs first: from then on execve gives no privileges, which no payload could have got anyway, since its execve is
// one of kmdev.
func Install() error {
	if Active() {
		return nil
	}
	e := install()
	if e == unix.EACCES {
		had, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if err != nil || had != 0 {
			return explain(e)
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
		forced.Store(true)
		e = install()
	}
	return explain(e)
}

// install does not ask for the speculation mitigations that older kernels couple to filters: the payload runs on these threads,
// and natively it would not have them.
func install() unix.Errno {
	const setModeFilter, tsync, specAllow = 1, 1 << 0, 1 << 2
	prog := sockFprog{uint16(len(program)), &program[0]}
	r, _, e := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, tsync|specAllow, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(&prog)
	if e == 0 && r != 0 {
		return unix.ESRCH // a thread with a filter of its own
	}
	return e
}

func explain(e unix.Errno) error {
	switch e {
	case 0:
		return nil
	case unix.EINVAL, unix.ENOSYS:
		return fmt.Errorf("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER): %w; --seccomp=off runs the payload without", e)
	}
	return fmt.Errorf("installing the monitor's seccomp filter: %w; --seccomp=off runs the payload without", e)
}
