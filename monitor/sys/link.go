package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var linkCalls = []entry{
	{unix.SYS_READLINK, func(t task, a args) uint64 { return readlink(t, atCWD, a[0], a[1], a[2]) }},
	{unix.SYS_READLINKAT, func(t task, a args) uint64 { return readlink(t, a[0], a[1], a[2], a[3]) }},
}

// readlink shows the payload for /proc/self/exe, and nothing for the monitor's
// descriptors. A link of another filesystem goes straight to the host.
func readlink(t task, dfd, path, buf, size uint64) uint64 {
	if int32(size) <= 0 {
		return fail(unix.EINVAL)
	}
	proc := procfs(t)
	if onProcLink(t, proc, dfd, path) {
		return readProcLink(t, proc, dfd, path, buf, size)
	}
	a := [6]uint64{dfd, path, buf, size}
	return pass(t, unix.SYS_READLINKAT, &a)
}

// onProcLink tells whether a path ends in a symbolic link of a procfs.
func onProcLink(t task, proc *procMount, dfd, path uint64) bool {
	if proc.fd < 0 {
		return false
	}
	const size = 256 // struct statx
	m := t.Scratch().Alloc(size)
	_, e := slow(unix.SYS_STATX, hypercall.HostFD(t, dfd), hypercall.Pointer(path, 1),
		unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, m.Host(), 0)
	if e != 0 {
		return false
	}
	x := statxOf(m)
	return isLink(x) && devOf(x) == proc.dev
}

func readProcLink(t task, proc *procMount, dfd, path, buf, size uint64) uint64 {
	name, e := usermem.ReadString(path, unix.PathMax)
	if e != 0 {
		return fail(e)
	}
	dir := int(int32(hypercall.HostFD(t, dfd)))
	if name == "" {
		return readOpenLink(t, proc, dir, buf, size)
	}
	at, e := walk(t, dir, name, false)
	if e != 0 {
		return fail(e)
	}
	defer at.close()
	fd, err := unix.Openat(at.dir, at.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(errnoOf(err))
	}
	defer closeFD(fd)
	return readOpenLink(t, proc, fd, buf, size)
}

// readOpenLink reads the link that is open as fd.
func readOpenLink(t task, proc *procMount, fd int, buf, size uint64) uint64 {
	target, e := linkTarget(t, proc, fd)
	if e != 0 {
		return fail(e)
	}
	if uint64(len(target)) > size {
		target = target[:size]
	}
	if e := usermem.CopyOut(buf, []byte(target)); e != 0 {
		return fail(e)
	}
	return uint64(len(target))
}

func linkTarget(t task, proc *procMount, fd int) (string, unix.Errno) {
	rel, trusted, ok := proc.path(fd)
	if !ok {
		return "", unix.EACCES
	}
	ref := proc.refer(t, rel, trusted)
	if e := proc.allowed(t, ref); e != 0 {
		return "", e
	}
	if ref.own && len(ref.tail) == 1 && ref.tail[0] == "exe" {
		return exeTarget(t, proc), 0
	}
	target, err := readlinkat(fd, "")
	return target, errnoOf0(err)
}

// exeTarget is what /proc/self/exe says: the path as the kernel knows it now,
// with " (deleted)" if it is.
func exeTarget(t task, proc *procMount) string {
	if dir, name := exePlace(t, proc); name != "" {
		if target, err := readlinkat(dir, name); err == nil {
			return target
		}
	}
	return t.Process().Exe()
}
