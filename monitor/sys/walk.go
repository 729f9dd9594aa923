package sys

import (
	"strings"

	"golang.org/x/sys/unix"
)

// place is where the walk along a path has ended: name in directory dir. The
// rest of the path has been followed, its last component has not if it is a
// magic link (one of procfs that leads to an object, not to a path).
type place struct {
	dir   int
	name  string
	magic bool
	ref   procRef // of a magic link
}

// slash is what makes the place a directory's, if the path does.
func (p *place) slash() string {
	if strings.HasSuffix(p.name, "/") {
		return "/"
	}
	return ""
}

// moveAway frees the directory's number for what the payload opens, which has
// the lowest free one.
func (p *place) moveAway(t task) unix.Errno {
	own, err := t.Process().OwnFD(p.dir)
	if err != nil {
		return errnoOf(err)
	}
	p.dir = own
	return 0
}

func (p *place) close() { closeFD(p.dir) }

// walker follows a path by hand, one component at a time, when it goes through
// a magic link: the kernel would follow links to the monitor's descriptors too.
// All descriptors it makes are O_PATH; it is not on any hot path.
type walker struct {
	t     task
	proc  *procMount
	dir   int
	rest  string
	links int
}

// maxLinks is how many symbolic links Linux follows in one path.
const maxLinks = 40

// walk resolves a path from a directory. follow tells whether a symbolic link
// at the end is followed, which is what makes the difference for a magic one.
func walk(t task, dfd int, path string, follow bool) (place, unix.Errno) {
	w := walker{t: t, proc: procfs(t), dir: -1, rest: path}
	if path == "" {
		return place{}, unix.ENOENT
	}
	if e := w.start(dfd); e != 0 {
		return place{}, e
	}
	for {
		at, done, e := w.step(follow)
		if e != 0 {
			closeFD(w.dir)
			return place{}, e
		}
		if done {
			return at, 0
		}
	}
}

// start opens the directory where the rest begins.
func (w *walker) start(dfd int) unix.Errno {
	from := "."
	if strings.HasPrefix(w.rest, "/") {
		dfd, from = unix.AT_FDCWD, "/"
	}
	fd, err := unix.Openat(dfd, from, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	w.enter(fd)
	return 0
}

func (w *walker) enter(fd int) {
	if w.dir >= 0 {
		closeFD(w.dir)
	}
	w.dir = fd
}

// step takes the next component.
func (w *walker) step(follow bool) (at place, done bool, e unix.Errno) {
	w.rest = strings.TrimLeft(w.rest, "/")
	name, rest, more := strings.Cut(w.rest, "/")
	if name == "" {
		return place{dir: w.dir, name: "."}, true, 0
	}
	last := strings.Trim(rest, "/") == ""
	fd, err := unix.Openat(w.dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if e = errnoOf(err); e == unix.ENOENT && last {
			return place{dir: w.dir, name: w.rest}, true, 0
		}
		return at, false, e
	}
	var x unix.Statx_t
	if !statxFD(fd, &x, 0) {
		closeFD(fd)
		return at, false, unix.EIO
	}
	if isLink(&x) && (!last || follow || more) {
		return w.link(fd, &x, name, rest, last, more)
	}
	if last {
		closeFD(fd)
		return place{dir: w.dir, name: w.rest}, true, 0
	}
	w.rest = rest
	w.enter(fd)
	return at, false, 0
}

// link follows a symbolic link, open as fd.
func (w *walker) link(fd int, x *unix.Statx_t, name, rest string, last, more bool) (at place, done bool, e unix.Errno) {
	defer closeFD(fd)
	if w.links++; w.links > maxLinks {
		return at, false, unix.ELOOP
	}
	if w.proc.onProc(fd, x) {
		ref, magic, e := w.magic(fd)
		if e != 0 {
			return at, false, e
		}
		if magic && last {
			return place{dir: w.dir, name: w.rest, magic: true, ref: ref}, true, 0
		}
		if magic {
			return at, false, w.jump(name, rest)
		}
	}
	target, err := readlinkat(fd, "")
	if err != nil {
		return at, false, errnoOf(err)
	}
	w.rest = target
	if more {
		w.rest += "/" + rest
	}
	if strings.HasPrefix(target, "/") {
		return at, false, w.start(unix.AT_FDCWD)
	}
	return at, false, 0
}

// magicNames are the entries of a process's directory that are magic links or
// hold them.
var magicNames = []string{"exe", "cwd", "root", "fd", "map_files", "ns"}

// magic tells whether a link of a procfs is a magic one, and which. What can't
// be told is refused.
func (w *walker) magic(fd int) (ref procRef, magic bool, e unix.Errno) {
	rel, trusted, ok := w.proc.path(fd)
	if !ok {
		return ref, false, unix.EACCES
	}
	ref = w.proc.refer(w.t, rel, trusted)
	if ref.pid == 0 {
		return ref, false, 0 // self, thread-self, mounts, net
	}
	if e = w.proc.allowed(w.t, ref); e != 0 {
		return ref, false, e
	}
	if len(ref.tail) == 0 {
		return ref, false, unix.EACCES
	}
	for _, n := range magicNames {
		if ref.tail[0] == n {
			return ref, true, 0
		}
	}
	return ref, false, 0
}

// jump goes through a magic link in the middle of a path: cwd, root, or a
// directory's descriptor.
func (w *walker) jump(name, rest string) unix.Errno {
	fd, err := unix.Openat(w.dir, name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	w.rest = rest
	w.enter(fd)
	return 0
}

func errnoOf(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}
