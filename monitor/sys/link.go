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
	if x := onProcLink(t, proc, dfd, path); x != nil {
		if isOwnExe(proc, x, path) {
			target, _ := exeTarget(t, proc, &procRef{own: true})
			return giveLink(target, buf, size)
		}
		return readProcLink(t, proc, dfd, path, buf, size)
	}
	a := [6]uint64{dfd, path, buf, size}
	return pass(t, unix.SYS_READLINKAT, &a)
}

// ownExe is what a statically linked program of glibc's reads while it starts.
const ownExe = "/proc/self/exe"

// isOwnExe tells, without a walk along the path, that it is ownExe and that x,
// the link there, is this process's: nothing is mounted between /proc and it.
func isOwnExe(proc *procMount, x *unix.Statx_t, path uint64) bool {
	var name [len(ownExe) + 1]byte
	if usermem.CopyInSome(name[:], path) < len(name) || string(name[:]) != ownExe+"\x00" {
		return false
	}
	var root unix.Statx_t
	return unix.Statx(unix.AT_FDCWD, "/proc", unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_MNT_ID, &root) == nil &&
		devOf(&root) == proc.dev && root.Mask&x.Mask&unix.STATX_MNT_ID != 0 && root.Mnt_id == x.Mnt_id
}

// onProcLink gives the link of the trusted procfs that a path ends in, nil if it
// ends in something else.
func onProcLink(t task, proc *procMount, dfd, path uint64) *unix.Statx_t {
	if proc.fd < 0 {
		return nil
	}
	const size = 256 // struct statx
	m := t.Scratch().Alloc(size)
	_, e := slow(unix.SYS_STATX, hypercall.HostFD(t, dfd), hypercall.Pointer(path, 1),
		unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_MNT_ID, m.Host(), 0)
	if e != 0 {
		return nil
	}
	if x := statxOf(m); isLink(x) && devOf(x) == proc.dev {
		return x
	}
	return nil
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
	return giveLink(target, buf, size)
}

func giveLink(target string, buf, size uint64) uint64 {
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
	if ref.shown("exe") {
		return exeTarget(t, proc, &ref)
	}
	target, err := readlinkat(fd, "")
	return target, errnoOf0(err)
}

// shown tells whether a reference is to the entry of that name of a payload's,
// this or a relative.
func (r *procRef) shown(name string) bool {
	return (r.own || r.rel != nil) && len(r.tail) == 1 && r.tail[0] == name
}

// exeTarget is what /proc/PID/exe says: the path as the kernel knows it now,
// with " (deleted)" if it is.
func exeTarget(t task, proc *procMount, ref *procRef) (string, unix.Errno) {
	dir, name := exePlace(t, proc, ref)
	if name == "" {
		return t.Process().Exe(), 0
	}
	target, err := readlinkat(dir, name)
	if err != nil && ref.own {
		return t.Process().Exe(), 0
	}
	return target, errnoOf0(err)
}
