package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var limitCalls = []entry{
	{unix.SYS_GETRLIMIT, func(t task, a args) uint64 { return prlimit(t, 0, a[0], 0, a[1]) }},
	{unix.SYS_SETRLIMIT, setrlimit},
	{unix.SYS_PRLIMIT64, func(t task, a args) uint64 { return prlimit(t, a[0], a[1], a[2], a[3]) }},
}

func setrlimit(t task, a args) uint64 {
	// Unlike prlimit64, NULL is a bad pointer here.
	if a[1] == 0 {
		return fail(unix.EFAULT)
	}
	return prlimit(t, 0, a[0], a[1], 0)
}

// prlimit serves the limits that the process keeps for itself, and passes the
// others to the host.
func prlimit(t task, pid, resource, newGVA, oldGVA uint64) uint64 {
	var want unix.Rlimit
	if newGVA != 0 {
		if e := readRlimit(newGVA, &want); e != 0 {
			return fail(e)
		}
	}
	old, kept := t.Process().Rlimit(int(int32(resource)))
	target := int(int32(pid))
	own := target == 0 || target == t.Pid() || t.Process().HasThread(target)
	var rel hypercall.Relative
	if kept && !own {
		rel = procfs(t).relative(t, target)
	}
	var e unix.Errno
	switch {
	case !kept || !own && rel == nil && foreign(t, target):
		e = hostLimit(t, pid, resource, newGVA != 0, &want, &old)
	case !own:
		e = othersLimit(t, rel, pid, resource, newGVA != 0, &old)
	case newGVA != 0:
		if e = limitAllowed(old, want); e == 0 {
			e = t.Process().SetRlimit(int(int32(resource)), want)
		}
	}
	if e == 0 && oldGVA != 0 {
		e = writeRlimit(oldGVA, old)
	}
	return fail(e)
}

// othersLimit is prlimit64 of a limit that another payload's monitor keeps. The host's own is the monitor's, which must not be
// changed from outside.
func othersLimit(t task, rel hypercall.Relative, pid, resource uint64, set bool, old *unix.Rlimit) unix.Errno {
	if e := hostLimit(t, pid, resource, false, nil, old); e != 0 {
		return e // there is no such process, or none that this one may ask about
	}
	if rel != nil {
		if l, ok := rel.Rlimit(int(int32(resource))); ok {
			*old = l
		}
	}
	if set {
		t.Process().Notef("prlimit of another payload's RLIMIT_NOFILE, AS or DATA is refused: its own monitor keeps it")
		return unix.EPERM
	}
	return 0
}

// hostLimit is prlimit64 on the host, from and to memory of the monitor's.
func hostLimit(t task, pid, resource uint64, set bool, want, old *unix.Rlimit) unix.Errno {
	m := t.Scratch().Alloc(32)
	from := uintptr(0)
	if set {
		m.PutUint64(0, want.Cur)
		m.PutUint64(8, want.Max)
		from = m.Host()
	}
	if set && resource == unix.RLIMIT_FSIZE {
		hostcall.FileSize.Lock()
		defer hostcall.FileSize.Unlock()
	}
	r := raw(unix.SYS_PRLIMIT64, uintptr(pid), uintptr(resource), from, m.Host()+16, 0, 0)
	old.Cur, old.Max = m.Uint64(16), m.Uint64(24)
	return unix.Errno(-r)
}

// limitAllowed applies the rules of setrlimit(2).
func limitAllowed(old, want unix.Rlimit) unix.Errno {
	if want.Cur > want.Max {
		return unix.EINVAL
	}
	if want.Max > old.Max && !capable(capSysResource) {
		return unix.EPERM
	}
	return 0
}

func readRlimit(gva uint64, l *unix.Rlimit) unix.Errno {
	var b [16]byte
	e := usermem.CopyIn(b[:], gva)
	l.Cur, l.Max = le64(b[:]), le64(b[8:])
	return e
}

func writeRlimit(gva uint64, l unix.Rlimit) unix.Errno {
	var b [16]byte
	put64(b[:], l.Cur)
	put64(b[8:], l.Max)
	return usermem.CopyOut(gva, b[:])
}
