package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// Landlock's domains are the host's: a payload's thread is a host thread, and
// the kernel gives a thread's domain to those it makes and to children. The
// monitor asks for nothing by path that a running payload needs, with one
// exception: execve executes the monitor's binary, so each ruleset that could
// forbid it allows that file.
var landlockCalls = []entry{
	{unix.SYS_LANDLOCK_CREATE_RULESET, landlockCreate},
	{unix.SYS_LANDLOCK_ADD_RULE, landlockRule},
	{unix.SYS_LANDLOCK_RESTRICT_SELF, landlockRestrict},
}

const (
	landlockVersion = 1 // flag LANDLOCK_CREATE_RULESET_VERSION
	landlockErrata  = 2 // flag LANDLOCK_CREATE_RULESET_ERRATA
	landlockABI     = 7 // the latest that is known here (Linux 6.15)

	landlockBeneath, sizeLandlockBeneath = 1, 12 // struct landlock_path_beneath_attr: access, descriptor
	landlockPort, sizeLandlockPort       = 2, 16 // struct landlock_net_port_attr: access, port

	landlockExecute  = 1 << 0 // LANDLOCK_ACCESS_FS_EXECUTE
	landlockReadFile = 1 << 2 // LANDLOCK_ACCESS_FS_READ_FILE

	// Flags of landlock_restrict_self up to that ABI: logging only.
	landlockRestrictFlags = 7
)

func landlockCreate(t task, a args) uint64 {
	if !execChecked(t) {
		t.Process().Notef("Landlock is refused: this host's kernel can't tell whether a file may be executed (AT_EXECVE_CHECK, Linux 6.14)")
		return fail(unix.EOPNOTSUPP)
	}
	if a[0] == 0 && a[1] == 0 {
		r := raw(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, uintptr(a[2]), 0, 0, 0)
		if uint32(a[2]) == landlockVersion && hypercall.Errno(r) == 0 {
			return min(r, landlockABI)
		}
		return r
	}
	if a[1] > 4096 {
		return fail(unix.E2BIG)
	}
	m := t.Scratch().Alloc(max(int(a[1]), 8))
	clear(m.Bytes())
	attr := m.Host()
	if e := usermem.CopyIn(m.Bytes()[:a[1]], a[0]); e != 0 {
		attr = hypercall.Pointer(a[0], a[1]) // the kernel finds the error in its own order
	}
	r := hypercall.NewFD(t, raw(unix.SYS_LANDLOCK_CREATE_RULESET, attr, uintptr(a[1]), uintptr(a[2]), 0, 0, 0))
	if hypercall.Errno(r) != 0 || attr != m.Host() {
		return r
	}
	if e := allowMonitor(t, uintptr(r), m.Uint64(0)); e != 0 {
		closeFD(int(r))
		return fail(e)
	}
	return r
}

// execChecked tells whether the host can say that a file may be executed, which
// the loader asks: the payload's execve itself executes the monitor.
func execChecked(t task) bool {
	const atExecveCheck = 0x10000
	fd := t.Process().SelfFD()
	if fd < 0 {
		return true
	}
	m := t.Scratch().Alloc(24) // argv, envp, an empty string
	clear(m.Bytes())
	m.PutUint64(0, uint64(m.Host()+16))
	return raw(unix.SYS_EXECVEAT, uintptr(fd), m.Host()+16, m.Host(), m.Host()+8, unix.AT_EMPTY_PATH|atExecveCheck, 0) == 0
}

// allowMonitor lets a ruleset that handles access to files execute the
// monitor's binary, for the payload's execve.
func allowMonitor(t task, ruleset uintptr, handled uint64) unix.Errno {
	handled &= landlockExecute | landlockReadFile
	fd := t.Process().SelfFD()
	if handled == 0 || fd < 0 {
		return 0
	}
	m := t.Scratch().Alloc(sizeLandlockBeneath)
	m.PutUint64(0, handled)
	m.PutUint32(8, uint32(fd))
	return hypercall.Errno(raw(unix.SYS_LANDLOCK_ADD_RULE, ruleset, landlockBeneath, m.Host(), 0, 0, 0))
}

func landlockRule(t task, a args) uint64 {
	size := sizeLandlockBeneath
	switch uint32(a[1]) {
	case landlockBeneath:
	case landlockPort:
		size = sizeLandlockPort
	default:
		return raw(unix.SYS_LANDLOCK_ADD_RULE, hypercall.HostFD(t, a[0]), uintptr(a[1]), hypercall.Pointer(a[2], 1), uintptr(a[3]), 0, 0)
	}
	m := t.Scratch().Alloc(size)
	rule := m.Host()
	if usermem.CopyIn(m.Bytes(), a[2]) != 0 {
		rule = hypercall.Pointer(a[2], uint64(size))
	} else if size == sizeLandlockBeneath {
		m.PutUint32(8, uint32(hypercall.HostFD(t, uint64(m.Uint32(8)))))
	}
	return raw(unix.SYS_LANDLOCK_ADD_RULE, hypercall.HostFD(t, a[0]), uintptr(a[1]), rule, uintptr(a[3]), 0, 0)
}

// landlockRestrict does not take the flags of later ABIs: one of them is about
// all threads of the process, some of which are the monitor's.
func landlockRestrict(t task, a args) uint64 {
	if uint32(a[1])&^landlockRestrictFlags != 0 {
		return fail(unix.EINVAL)
	}
	OpenProc(t) // from here on it may be forbidden
	return raw(unix.SYS_LANDLOCK_RESTRICT_SELF, hypercall.HostFD(t, a[0]), uintptr(a[1]), 0, 0, 0, 0)
}
