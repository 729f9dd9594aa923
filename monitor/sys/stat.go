package sys

import (
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// Calls that look at what a path leads to. A path of /proc is walked by hand
// first; the others go straight to the host. That a symbolic link elsewhere
// may lead to a magic one does no harm here: nothing is changed.
var statCalls = []entry{
	{unix.SYS_STAT, func(t task, a args) uint64 {
		return stat(t, unix.SYS_STAT, a, look{dfd: -1, path: 0, flags: -1}, a[1], statIDs)
	}},
	{unix.SYS_LSTAT, func(t task, a args) uint64 {
		return stat(t, unix.SYS_LSTAT, a, look{dfd: -1, path: 0, flags: -1, nofollow: true}, a[1], statIDs)
	}},
	{unix.SYS_NEWFSTATAT, func(t task, a args) uint64 {
		return stat(t, unix.SYS_NEWFSTATAT, a, look{dfd: 0, path: 1, flags: 3}, a[2], statIDs)
	}},
	{unix.SYS_STATX, func(t task, a args) uint64 {
		return stat(t, unix.SYS_STATX, a, look{dfd: 0, path: 1, flags: 2}, a[4], statxIDs)
	}},
	{unix.SYS_ACCESS, looking(unix.SYS_ACCESS, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_FACCESSAT, looking(unix.SYS_FACCESSAT, look{dfd: 0, path: 1, flags: -1})},
	{unix.SYS_FACCESSAT2, looking(unix.SYS_FACCESSAT2, look{dfd: 0, path: 1, flags: 3})},
	{unix.SYS_STATFS, looking(unix.SYS_STATFS, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_GETXATTR, looking(unix.SYS_GETXATTR, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_LISTXATTR, looking(unix.SYS_LISTXATTR, look{dfd: -1, path: 0, flags: -1})},
	{unix.SYS_LISTXATTRAT, looking(unix.SYS_LISTXATTRAT, look{dfd: 0, path: 1, flags: 2})},
	{unix.SYS_FILE_GETATTR, looking(unix.SYS_FILE_GETATTR, look{dfd: 0, path: 1, flags: 4})},
	{unix.SYS_INOTIFY_ADD_WATCH, looking(unix.SYS_INOTIFY_ADD_WATCH, look{dfd: -1, path: 1, flags: -1})},
}

// look says which arguments of a call are directory, path and AT_ flags; -1 if
// it has none. nofollow: a symbolic link at the path's end is not followed.
type look struct {
	dfd, path, flags int
	nofollow         bool
}

func looking(nr int, l look) Handler {
	return func(t task, a args) uint64 { return lookAt(t, nr, a, l) }
}

// lookAt passes a call, with another path if it leads through a magic link.
func lookAt(t task, nr int, a args, l look) uint64 {
	h := hypercall.Translate(t, hypercall.Lookup(nr), a)
	if inProc(a[l.path]) {
		p, e := l.redirect(t, a)
		if e != 0 {
			return fail(e)
		}
		if p != 0 {
			h[l.path] = p
		}
	}
	return hypercall.Call(t, hypercall.Lookup(nr), &h)
}

// inProc tells whether a path is written as one of /proc.
func inProc(gva uint64) bool {
	const proc, mask = 0x2f636f72702f, 1<<48 - 1 // "/proc/", first byte lowest
	v, e := usermem.ReadUint64(gva)
	if e != 0 {
		var b [6]byte
		return usermem.CopyIn(b[:], gva) == 0 && string(b[:]) == "/proc/"
	}
	return v&mask == proc
}

// redirect walks a path and returns another one in scratch memory if it is to
// be used instead; 0 if the payload's is right.
func (l look) redirect(t task, a args) (uintptr, unix.Errno) {
	name, e := usermem.ReadString(a[l.path], unix.PathMax)
	if e != 0 {
		return 0, 0 // the host finds the error
	}
	dfd := unix.AT_FDCWD
	if l.dfd >= 0 {
		dfd = int(int32(hypercall.HostFD(t, a[l.dfd])))
	}
	proc := procfs(t)
	at, e := walk(t, dfd, name, l.follows(a))
	if e != 0 {
		return 0, e
	}
	defer at.close()
	if !at.magic {
		return 0, at.visible(t, proc)
	}
	if !at.ref.shown("exe") {
		return 0, 0
	}
	// Beside the magic link is another to the payload's file, whatever has become of its path.
	if fd := at.ref.exeFD(t); fd >= 0 && (name == "exe" || strings.HasSuffix(name, "/exe")) {
		return scratchPath(t, strings.TrimSuffix(name, "exe")+"fd/"+itoa(fd)), 0
	}
	path, e := exeTarget(t, proc, &at.ref)
	if e != 0 {
		return 0, e
	}
	return scratchPath(t, path+at.slash()), 0
}

// visible gives ENOENT if a place that is no magic link is a file that the
// payload does not have.
func (p *place) visible(t task, proc *procMount) unix.Errno {
	var x unix.Statx_t
	if !statxFD(p.dir, &x, statxMntUnique) || !proc.onProc(p.dir, &x) {
		return 0
	}
	rel, trusted, ok := proc.path(p.dir)
	if !ok {
		return 0
	}
	name := strings.Trim(p.name, "/")
	if name == "." {
		name = ""
	}
	if proc.allowed(t, proc.refer(t, strings.Trim(rel+"/"+name, "/"), trusted)) == unix.ENOENT {
		return unix.ENOENT
	}
	return 0
}

// scratchPath puts a path where the host can read it.
func scratchPath(t task, path string) uintptr {
	m := t.Scratch().Alloc(len(path) + 1)
	m.Bytes()[copy(m.Bytes(), path)] = 0
	return m.Host()
}

// Where struct stat and struct statx have device and inode numbers.
type idFields struct {
	ino        uint64
	devMajor32 uint64 // 0: dev is one 64-bit word at offset 0
}

var (
	statIDs  = idFields{ino: 8}
	statxIDs = idFields{ino: 32, devMajor32: 136}
)

// stat passes a stat call. The answer shows if a magic link has led to the
// monitor's executable by whatever path: then it is walked.
func stat(t task, nr int, a args, l look, buf uint64, ids idFields) uint64 {
	r := lookAt(t, nr, a, l)
	if r != 0 || procfs(t).exe.ino == 0 || ids.read(buf) != procfs(t).exe {
		return r
	}
	h := hypercall.Translate(t, hypercall.Lookup(nr), a)
	p, e := l.redirect(t, a)
	if e != 0 || p == 0 {
		return r
	}
	h[l.path] = p
	return hypercall.Call(t, hypercall.Lookup(nr), &h)
}

func (f idFields) read(buf uint64) fileID {
	ino, _ := usermem.ReadUint64(buf + f.ino)
	dev, _ := usermem.ReadUint64(buf + f.devMajor32)
	if f.devMajor32 != 0 {
		return fileID{dev<<32 | dev>>32, ino} // major is the first word
	}
	return fileID{uint64(unix.Major(dev))<<32 | uint64(unix.Minor(dev)), ino}
}
