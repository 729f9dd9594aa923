package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var processCalls = []entry{
	{unix.SYS_UNSHARE, unshare},
	{unix.SYS_KCMP, kcmp},
	{unix.SYS_PIDFD_GETFD, pidfdGetfd},
	{unix.SYS_PROCESS_VM_READV, func(t task, a args) uint64 { return processVM(t, unix.SYS_PROCESS_VM_READV, a) }},
	{unix.SYS_PROCESS_VM_WRITEV, func(t task, a args) uint64 { return processVM(t, unix.SYS_PROCESS_VM_WRITEV, a) }},
	{unix.SYS_MOVE_PAGES, movePages},
	{unix.SYS_PTRACE, ptrace},
	{unix.SYS_MODIFY_LDT, modifyLDT},
}

// unshare leaves out what a single-threaded process has to itself already: the
// host's process has more threads.
func unshare(t task, a args) uint64 {
	const alone = unix.CLONE_FILES | unix.CLONE_FS | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_VM
	flags := a[0]
	procfs(t) // while there still is one
	if t.Process().Threads() == 1 {
		flags &^= alone
	} else if flags&unix.CLONE_FILES != 0 {
		t.Process().Notef("unshare(CLONE_FILES) by one of several threads is refused: the monitor needs its descriptors in all of them")
		return fail(unix.EINVAL)
	}
	if flags == 0 {
		return 0
	}
	return sleep(t, unix.SYS_UNSHARE, uintptr(flags), 0, 0, 0, 0, 0)
}

// kcmp compares resources of two processes; only files and epoll slots have
// more than a kind.
func kcmp(t task, a args) uint64 {
	const file, epollTFD, slot = 0, 7, 12
	idx1, idx2 := uintptr(a[3]), uintptr(a[4])
	switch uint32(a[2]) {
	case file:
		idx1, idx2 = hypercall.HostFD(t, a[3]), hypercall.HostFD(t, a[4])
	case epollTFD:
		idx1, idx2 = hypercall.HostFD(t, a[3]), hypercall.Pointer(a[4], slot)
	}
	return raw(unix.SYS_KCMP, uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), idx1, idx2, 0)
}

// pidfdGetfd takes the payload's descriptors only, of whatever process.
func pidfdGetfd(t task, a args) uint64 {
	fd := hypercall.HostFD(t, a[1])
	if pid, e := pidOf(t, a[0]); e == 0 {
		if fd = uintptr(int32(a[1])); !foreign(t, pid) && !hasFD(t, pid, int(int32(a[1]))) {
			return fail(unix.EBADF)
		}
	}
	return hypercall.NewFD(t, raw(unix.SYS_PIDFD_GETFD, hypercall.HostFD(t, a[0]), fd, uintptr(a[2]), 0, 0, 0))
}

// hasFD tells whether a descriptor of a monitor's process may be its payload's.
func hasFD(t task, pid, fd int) bool {
	ref := procRef{pid: pid, own: pid == t.Pid() || t.Process().HasThread(pid)}
	if !ref.own {
		ref.rel = procfs(t).relative(t, pid)
	}
	return fd >= 0 && fd < ref.fdLimit(t)
}

// foreign tells whether a process is none of a monitor's: its addresses are
// plain. Every monitor has its payload's memory in the same window.
func foreign(t task, pid int) bool {
	if pid == 0 || pid == t.Pid() || t.Process().HasThread(pid) {
		return false
	}
	proc := procfs(t)
	if proc.fd < 0 {
		return false
	}
	var x unix.Statx_t
	err := unix.Statx(proc.fd, itoa(pid)+"/exe", 0, unix.STATX_INO, &x)
	return err == nil && idOf(&x) != proc.exe
}

// processVM moves memory between payloads: the remote addresses of another
// monitor's process mean its payload too.
func processVM(t task, nr int, a args) uint64 {
	remote := uintptr(0)
	if foreign(t, int(int32(a[0]))) {
		if a[4] <= 1024 {
			m := t.Scratch().Alloc(int(a[4]) * 16)
			if e := usermem.CopyIn(m.Bytes(), a[3]); e != 0 {
				return fail(e)
			}
			remote = m.Host()
		}
	} else {
		remote = hypercall.IOVecs(t, a[3], a[4])
	}
	local := hypercall.IOVecs(t, a[1], a[2])
	return sleep(t, uintptr(nr), uintptr(a[0]), local, uintptr(a[2]), remote, uintptr(a[4]), uintptr(a[5]))
}

// movePages translates its array of addresses.
func movePages(t task, a args) uint64 {
	const most = 1 << 20
	h := hypercall.Translate(t, hypercall.Lookup(unix.SYS_MOVE_PAGES), a)
	if n := a[1]; n > 0 && a[2] != 0 && !foreign(t, int(int32(a[0]))) {
		if n > most {
			return fail(unix.E2BIG)
		}
		m := t.Scratch().Alloc(int(n) * 8)
		if m.Host() == 0 {
			return fail(unix.ENOMEM)
		}
		b := m.Bytes()
		if e := usermem.CopyIn(b, a[2]); e != 0 {
			return fail(e)
		}
		for ; len(b) > 0; b = b[8:] {
			put64(b, uint64(hypercall.Pointer(le64(b), 1)))
		}
		h[2] = m.Host()
	}
	return sleep(t, unix.SYS_MOVE_PAGES, h[0], h[1], h[2], h[3], h[4], h[5])
}

// ptrace is refused as by a host that does not permit it: no process may be
// attached, so there is none that other requests could be about.
func ptrace(t task, a args) uint64 {
	t.Process().Notef("ptrace is refused: a tracer would see the monitor instead of the payload; use kmdev's gdb server")
	switch a[0] {
	case unix.PTRACE_TRACEME:
		return fail(unix.EPERM)
	case unix.PTRACE_ATTACH, unix.PTRACE_SEIZE:
		if r := raw(unix.SYS_KILL, uintptr(a[1]), 0, 0, 0, 0, 0); r == fail(unix.ESRCH) || int32(a[1]) <= 0 {
			return fail(unix.ESRCH)
		}
		return fail(unix.EPERM)
	}
	return fail(unix.ESRCH)
}

// modifyLDT reads an empty table. Its errors are 32 bits wide on Linux too.
func modifyLDT(_ task, a args) uint64 {
	const read = 0
	if uint32(a[0]) == read {
		return 0
	}
	return uint64(uint32(fail(unix.ENOSYS)))
}
