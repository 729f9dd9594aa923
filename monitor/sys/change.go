package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// Calls that change what a path leads to. Before each, the path is tried
// without magic links, whatever symbolic links it has; if there is one, it is
// walked by hand, so that chmod of /proc/self/exe reaches the payload's file and
// the monitor's descriptors are not found.
var changeCalls = []entry{
	{unix.SYS_CHMOD, changing(unix.SYS_CHMOD, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_FCHMODAT, changing(unix.SYS_FCHMODAT, look{dfd: 0, path: 1, flags: -1})},
	{unix.SYS_FCHMODAT2, changing(unix.SYS_FCHMODAT2, look{dfd: 0, path: 1, flags: 3})},
	{unix.SYS_CHOWN, changing(unix.SYS_CHOWN, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_FCHOWNAT, changing(unix.SYS_FCHOWNAT, look{dfd: 0, path: 1, flags: 4})},
	{unix.SYS_UTIME, changing(unix.SYS_UTIME, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_UTIMES, changing(unix.SYS_UTIMES, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_FUTIMESAT, changing(unix.SYS_FUTIMESAT, look{dfd: 0, path: 1, flags: -1})},
	{unix.SYS_UTIMENSAT, changing(unix.SYS_UTIMENSAT, look{dfd: 0, path: 1, flags: 3})},
	{unix.SYS_SETXATTR, changing(unix.SYS_SETXATTR, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_REMOVEXATTR, changing(unix.SYS_REMOVEXATTR, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_REMOVEXATTRAT, changing(unix.SYS_REMOVEXATTRAT, look{dfd: 0, path: 1, flags: 2})},
	{unix.SYS_SETXATTRAT, xattrArgs(unix.SYS_SETXATTRAT)},
	{unix.SYS_GETXATTRAT, xattrArgs(unix.SYS_GETXATTRAT)},
	{unix.SYS_FILE_SETATTR, changing(unix.SYS_FILE_SETATTR, look{dfd: 0, path: 1, flags: 4})},
	{unix.SYS_NAME_TO_HANDLE_AT, nameToHandle},
	{unix.SYS_LINKAT, linkat},
	{unix.SYS_TRUNCATE, truncate},
	{unix.SYS_CHDIR, changing(unix.SYS_CHDIR, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_CHROOT, rooting(changing(unix.SYS_CHROOT, look{dfd: -1, path: 0, flags: -1}))},
	{unix.SYS_PIVOT_ROOT, rooting(func(t task, a args) uint64 { return pass(t, unix.SYS_PIVOT_ROOT, a) })},
	{unix.SYS_SETNS, rooting(func(t task, a args) uint64 { return pass(t, unix.SYS_SETNS, a) })},
}

// rooting serves a call that may give the payload another root.
func rooting(h Handler) Handler {
	return func(t task, a args) uint64 {
		proc := procfs(t) // while there still is one
		r := h(t, a)
		if r == 0 {
			proc.rooted(t)
		}
		return r
	}
}

func changing(nr int, l look) Handler {
	return func(t task, a args) uint64 {
		h := hypercall.Translate(t, hypercall.Lookup(nr), a)
		return l.change(t, nr, a, &h)
	}
}

// change makes a call whose arguments are translated already.
func (l look) change(t task, nr int, a args, h *[6]uintptr) uint64 {
	if e := l.guard(t, a, h); e != 0 {
		return fail(e)
	}
	return hypercall.Call(t, hypercall.Lookup(nr), h)
}

// guard puts another path in place of one that leads through a magic link.
func (l look) guard(t task, a args, h *[6]uintptr) unix.Errno {
	proc := procfs(t)
	if proc.fd < 0 || a[l.path] == 0 || !l.viaMagic(t, a) {
		return 0
	}
	p, e := l.redirect(t, a)
	if p != 0 {
		h[l.path] = p
	}
	return e
}

// follows tells whether the call follows a link at the end of its path.
func (l look) follows(a args) bool {
	return !l.nofollow && (l.flags < 0 || a[l.flags]&unix.AT_SYMLINK_NOFOLLOW == 0)
}

// viaMagic tells whether the kernel would go through a magic link, or through
// too many links.
func (l look) viaMagic(t task, a args) bool {
	how := how{flags: unix.O_PATH | unix.O_CLOEXEC, resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !l.follows(a) {
		how.flags |= unix.O_NOFOLLOW
	}
	dfd := atCWD
	if l.dfd >= 0 {
		dfd = a[l.dfd]
	}
	fd, e := slow(unix.SYS_OPENAT2, hypercall.HostFD(t, dfd), hypercall.Pointer(a[l.path], 1), putHow(t, how), sizeHow, 0, 0)
	if e == 0 {
		closeFD(int(fd))
	}
	return e == unix.ELOOP
}

// xattrArgs serves setxattrat and getxattrat, whose value's address is in a
// structure.
func xattrArgs(nr int) Handler {
	const size = 16 // value, size, flags
	l := look{dfd: 0, path: 1, flags: 2}
	return func(t task, a args) uint64 {
		h := hypercall.Translate(t, hypercall.Lookup(nr), a)
		b, e := copyStruct(a[4], a[5], size)
		if e != 0 {
			return fail(e)
		}
		m := t.Scratch().Alloc(size)
		copy(m.Bytes(), b)
		m.PutUint64(0, uint64(hypercall.PointerOrNil(le64(b), uint64(le32(b[8:])))))
		h[4], h[5] = m.Host(), size
		return l.change(t, nr, a, &h)
	}
}

// nameToHandle looks at AT_SYMLINK_FOLLOW, the opposite of the others' flag.
func nameToHandle(t task, a args) uint64 {
	l := look{dfd: 0, path: 1, flags: -1}
	h := hypercall.Translate(t, hypercall.Lookup(unix.SYS_NAME_TO_HANDLE_AT), a)
	if a[4]&unix.AT_SYMLINK_FOLLOW == 0 {
		return hypercall.Call(t, hypercall.Lookup(unix.SYS_NAME_TO_HANDLE_AT), &h)
	}
	return l.change(t, unix.SYS_NAME_TO_HANDLE_AT, a, &h)
}

// linkat follows its old path with AT_SYMLINK_FOLLOW: that is how a file made
// with O_TMPFILE gets a name.
func linkat(t task, a args) uint64 {
	l := look{dfd: 0, path: 1, flags: -1}
	h := hypercall.Translate(t, hypercall.Lookup(unix.SYS_LINKAT), a)
	if a[4]&unix.AT_SYMLINK_FOLLOW == 0 {
		return hypercall.Call(t, hypercall.Lookup(unix.SYS_LINKAT), &h)
	}
	return l.change(t, unix.SYS_LINKAT, a, &h)
}

// truncate cuts the file that the path leads to now: it is opened first, so
// that no other thread can make the path one to a file of the monitor's in
// between.
func truncate(t task, a args) uint64 {
	if int64(a[1]) < 0 {
		return fail(unix.EINVAL)
	}
	proc := procfs(t)
	if proc.fd < 0 {
		return pass(t, unix.SYS_TRUNCATE, a)
	}
	r := open(t, atCWD, a[0], how{flags: unix.O_PATH | unix.O_CLOEXEC})
	if hypercall.Errno(r) != 0 {
		return r
	}
	pin := int(r)
	defer closeFD(pin)
	var x unix.Statx_t
	switch {
	case !statxFD(pin, &x, 0):
		return fail(unix.EIO)
	case isDir(&x):
		return fail(unix.EISDIR)
	case !isRegular(&x):
		return fail(unix.EINVAL)
	}
	w, err := unix.Openat(proc.fd, fdPath(pin), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(errnoOf(err))
	}
	defer closeFD(w)
	return fail(errnoOf0(unix.Ftruncate(w, int64(a[1]))))
}

// readPath reads a path for the monitor's own use.
func readPath(gva uint64) (string, unix.Errno) { return usermem.ReadString(gva, unix.PathMax) }
