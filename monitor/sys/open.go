package sys

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var openCalls = []entry{
	{unix.SYS_OPEN, func(t task, a args) uint64 { return openat(t, atCWD, a[0], a[1], a[2]) }},
	{unix.SYS_CREAT, func(t task, a args) uint64 {
		return openat(t, atCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a[1])
	}},
	{unix.SYS_OPENAT, func(t task, a args) uint64 { return openat(t, a[0], a[1], a[2], a[3]) }},
	{unix.SYS_OPENAT2, openat2},
	{unix.SYS_OPEN_BY_HANDLE_AT, openByHandle},
}

// atCWD is AT_FDCWD in a register.
const atCWD = ^uint64(99)

// What openat takes of its arguments, where openat2 refuses the rest.
const (
	openFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND |
		unix.O_NONBLOCK | unix.O_SYNC | unix.O_ASYNC | unix.O_DIRECT | oLargefile | unix.O_DIRECTORY |
		unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE
	pathFlags  = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_PATH | unix.O_CLOEXEC
	oLargefile = 0o100000 // x/sys has 0: the kernel sets it by itself, but not in openat2
	tmpfileBit = unix.O_TMPFILE &^ unix.O_DIRECTORY
	modeBits   = 0o7777
)

const sizeHow = 24

// how is struct open_how.
type how struct{ flags, mode, resolve uint64 }

// openat turns its arguments into those of openat2, as the kernel itself does.
func openat(t task, dfd, path, flags, mode uint64) uint64 {
	h := how{flags: flags&openFlags | oLargefile}
	if h.flags&unix.O_PATH != 0 {
		h.flags &= pathFlags
	}
	if h.flags&(unix.O_CREAT|tmpfileBit) != 0 {
		h.mode = mode & modeBits
	}
	return open(t, dfd, path, h)
}

func openat2(t task, a args) uint64 {
	b, e := copyStruct(a[2], a[3], sizeHow)
	if e != 0 {
		return fail(e)
	}
	return open(t, a[0], a[1], how{le64(b[0:]), le64(b[8:]), le64(b[16:])})
}

// copyStruct reads a structure that may grow in later kernels, as
// copy_struct_from_user does: what this one does not know must be zero.
func copyStruct(gva, size uint64, known int) ([]byte, unix.Errno) {
	if size < uint64(known) {
		return nil, unix.EINVAL
	}
	if size > 4096 {
		return nil, unix.E2BIG
	}
	b := make([]byte, size)
	if e := usermem.CopyIn(b, gva); e != 0 {
		return nil, e
	}
	for _, c := range b[known:] {
		if c != 0 {
			return nil, unix.E2BIG
		}
	}
	return b[:known], 0
}

// open opens a path of the payload's. Magic links are not followed by the
// kernel but here, where it is known which may be.
func open(t task, dfd, path uint64, h how) uint64 {
	proc := procfs(t)
	const scoped = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS
	guard := h
	if h.resolve&scoped == 0 {
		guard.resolve |= unix.RESOLVE_NO_MAGICLINKS
	}
	r := sleep(t, unix.SYS_OPENAT2, hypercall.HostFD(t, dfd), hypercall.Pointer(path, 1), putHow(t, guard), sizeHow, 0, 0)
	if r == fail(unix.ELOOP) && guard != h {
		return openMagic(t, proc, dfd, path, h)
	}
	return opened(t, proc, r, h)
}

func putHow(t task, h how) uintptr {
	m := t.Scratch().Alloc(sizeHow)
	m.PutUint64(0, h.flags)
	m.PutUint64(8, h.mode)
	m.PutUint64(16, h.resolve)
	return m.Host()
}

// openMagic opens a path on which there is a magic link, or too many links.
func openMagic(t task, proc *procMount, dfd, path uint64, h how) uint64 {
	if proc.fd < 0 {
		return fail(unix.ELOOP)
	}
	name, e := usermem.ReadString(path, unix.PathMax)
	if e != 0 {
		return fail(e)
	}
	at, e := walk(t, int(int32(hypercall.HostFD(t, dfd))), name, h.flags&unix.O_NOFOLLOW == 0)
	if e != 0 {
		return fail(e)
	}
	defer at.close()
	if e := at.moveAway(t); e != 0 {
		return fail(e)
	}
	dir, last := at.dir, at.name
	if at.magic && at.ref.shown("exe") {
		if dir, last = exePlace(t, proc, &at.ref); last == "" {
			return fail(unix.ENOENT)
		}
		last += at.slash()
	} else if !at.magic {
		h.resolve |= unix.RESOLVE_NO_MAGICLINKS // it may have become one since
	}
	s := t.Scratch().Alloc(len(last) + 1)
	s.Bytes()[copy(s.Bytes(), last)] = 0
	return opened(t, proc, sleep(t, unix.SYS_OPENAT2, uintptr(dir), s.Host(), putHow(t, h), sizeHow, 0, 0), h)
}

// exePlace is where a payload's executable is reached through its monitor's
// descriptor of it, whatever has become of its path.
func exePlace(t task, proc *procMount, ref *procRef) (dir int, name string) {
	fd := ref.exeFD(t)
	switch {
	case fd < 0:
		return -1, ""
	case ref.rel != nil:
		return proc.fd, ref.dir() + "/fd/" + strconv.Itoa(fd)
	}
	return proc.fd, fdPath(fd)
}

// exeFD is the descriptor of the executable of a reference's process, among its
// monitor's.
func (r *procRef) exeFD(t task) int {
	if r.rel != nil {
		return r.rel.ExeFD()
	}
	return t.Process().ExeFD()
}

// kvmDevice is /dev/kvm.
const (
	kvmMajor = 10
	kvmMinor = 232
)

// opened looks at what the host has opened for the payload: files of a procfs
// that show this process are replaced or refused.
func opened(t task, proc *procMount, r uint64, h how) uint64 {
	r = hypercall.NewFD(t, r)
	if hypercall.Errno(r) != 0 {
		return r
	}
	fd := int(r)
	var x unix.Statx_t
	if !statxFD(fd, &x, statxMntUnique) {
		closeFD(fd)
		return fail(unix.EIO)
	}
	if x.Mode&unix.S_IFMT == unix.S_IFCHR && x.Rdev_major == kvmMajor && x.Rdev_minor == kvmMinor && h.flags&unix.O_PATH == 0 {
		closeFD(fd)
		t.Process().Notef("opening /dev/kvm is refused: a payload has no VMs of its own")
		return fail(unix.EACCES)
	}
	if !proc.onProc(fd, &x) {
		return r
	}
	return openedProc(t, proc, fd, &x, h)
}

func openedProc(t task, proc *procMount, fd int, x *unix.Statx_t, h how) uint64 {
	if h.flags&unix.O_PATH != 0 {
		return uint64(fd) // what is opened from it comes by here again
	}
	rel, trusted, ok := proc.path(fd)
	if !ok {
		closeFD(fd)
		return fail(unix.EACCES)
	}
	ref := proc.refer(t, rel, trusted)
	if e := proc.allowed(t, ref); e != 0 {
		closeFD(fd)
		return fail(e)
	}
	if !ref.known() || len(ref.tail) != 1 {
		return uint64(fd)
	}
	switch kind, _ := kindOf(ref.tail[0]); {
	case kind == procWindow:
		return windows.open(t, proc, fd, &ref, h)
	case kind == procText && h.flags&unix.O_ACCMODE != unix.O_WRONLY:
		return procOpenText(t, proc, fd, &ref, h)
	}
	return uint64(fd)
}

// snapshot makes a file with a text, open for reading only.
func snapshot(proc *procMount, name string, text []byte) (int, unix.Errno) {
	w, err := unix.MemfdCreate("proc:"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, errnoOf(err)
	}
	defer closeFD(w)
	if err := hostcall.OwnFile(func() error { return writeAll(w, text) }); err != nil {
		return -1, errnoOf(err)
	}
	unix.Fchmod(w, 0o444)
	unix.FcntlInt(uintptr(w), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	r, err := unix.Openat(proc.fd, fdPath(w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return r, errnoOf0(err)
}

func writeAll(fd int, text []byte) error {
	for off := 0; off < len(text); {
		n, err := unix.Pwrite(fd, text[off:], int64(off))
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

// errnoOf0 is errnoOf where nil is 0.
func errnoOf0(err error) unix.Errno {
	if err == nil {
		return 0
	}
	return errnoOf(err)
}

func openByHandle(t task, a args) uint64 {
	const maxHandle = 8 + 128 // MAX_HANDLE_SZ
	h := [2]uintptr{hypercall.HostFD(t, a[0]), hypercall.Pointer(a[1], maxHandle)}
	r := sleep(t, unix.SYS_OPEN_BY_HANDLE_AT, h[0], h[1], uintptr(a[2]), 0, 0, 0)
	return opened(t, procfs(t), r, how{flags: a[2]})
}
