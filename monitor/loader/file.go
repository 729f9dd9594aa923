package loader

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// headSize is how much of a file is read at once: its ELF header, and in nearly all files also the program headers and
// the interpreter's name, or the #! line.
const headSize = 4096

// file is an open candidate for execution: a regular file that the caller may read and execute.
type file struct {
	fd   int
	size int64
	mode uint32
	head []byte // its first bytes, at most headSize
}

func (f *file) close() {
	if f != nil && f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
	}
}

// opener opens files the way execve(2) does.
type opener struct {
	open     func(dirfd int, path string, flags int) (int, error)
	hostPath func(path string) string
	textBusy bool                   // see Options.TextBusy
	adopt    func() (*file, *fault) // gives the interpreter, if it was opened elsewhere: see Adopt
}

// openFlags: O_NONBLOCK and O_NOCTTY so that naming a FIFO or a terminal neither waits nor takes the terminal.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

// exec opens path relative to dirfd for execution and reads its head. at carries execveat(2)'s flags. Only a regular file
// is opened at all: opening a device can have effects.
func (o *opener) exec(dirfd int, path string, at int) (*file, *fault) {
	if path == "" && at&unix.AT_EMPTY_PATH == 0 {
		return nil, explainPath(unix.ENOENT)
	}
	path = o.hostPath(path)
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, path, &st, at); err != nil {
		return nil, explainPath(toErrno(err))
	}
	if bad := regular(st.Mode); bad != nil {
		return nil, bad
	}
	fd, errno := o.openFd(dirfd, path, at)
	if errno != 0 {
		return nil, explainOpen(st.Mode, errno)
	}
	f := &file{fd: fd}
	bad := o.check(f)
	if bad == nil {
		bad = f.readHead()
	}
	if bad != nil {
		f.close()
		return nil, bad
	}
	return f, nil
}

func (f *file) readHead() *fault {
	buf := make([]byte, headSize)
	n, errno := f.pread(buf, 0)
	if errno != 0 {
		return faultf(errno, "cannot be read: %s", errno)
	}
	f.head = buf[:n]
	return nil
}

// interp opens an interpreter that a program names. An empty name is EACCES here, not ENOENT as from user space: Linux
// looks it up as the current directory.
func (o *opener) interp(name string) (*file, *fault) {
	if o.adopt != nil {
		return o.adopt()
	}
	if name == "" {
		return nil, faultf(unix.EACCES, "is an empty name")
	}
	return o.exec(unix.AT_FDCWD, name, 0)
}

func (o *opener) openFd(dirfd int, path string, at int) (int, unix.Errno) {
	flags := openFlags
	if at&unix.AT_SYMLINK_NOFOLLOW != 0 {
		flags |= unix.O_NOFOLLOW
	}
	if path == "" {
		dirfd, path, flags = unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(dirfd), openFlags
	}
	for {
		fd, err := o.open(dirfd, path, flags)
		if err == nil {
			return fd, 0
		}
		if errno := toErrno(err); errno != unix.EINTR {
			return -1, errno
		}
	}
}

// check is Linux's do_open_execat: a regular file, the execute bit, no noexec mount, and (on request) nobody writing it.
func (o *opener) check(f *file) *fault {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return faultf(toErrno(err), "cannot be examined: %s", toErrno(err))
	}
	if bad := regular(st.Mode); bad != nil { // it may have been replaced meanwhile
		return bad
	}
	f.size, f.mode = st.Size, st.Mode
	if errno := faccessat2(f.fd); errno != 0 {
		return explainAccess(f.fd, st.Mode, errno)
	}
	if !o.textBusy {
		return nil
	}
	switch e := execveCheck(f.fd); e {
	case unix.ETXTBSY:
		return faultf(e, "is open for writing; wait until that is over, or run a copy")
	case unix.EACCES, unix.EPERM:
		return faultf(e, "may not be executed: a security module of the host forbids it")
	}
	return nil
}

// pread fills buf from off, as far as the file goes.
func (f *file) pread(buf []byte, off int64) (int, unix.Errno) {
	done := 0
	for done < len(buf) {
		n, err := unix.Pread(f.fd, buf[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, toErrno(err)
		case n == 0:
			return done, 0
		}
		done += n
	}
	return done, 0
}

// bytes gives length bytes from off: out of the head where it can. ok is false if the file ends before, or cannot be
// read. The caller bounds length.
func (f *file) bytes(off, length uint64) (b []byte, ok bool) {
	if off+length >= off && off+length <= uint64(len(f.head)) {
		return f.head[off : off+length], true
	}
	if size := uint64(f.size); off > size || length > size-off {
		return nil, false
	}
	b = make([]byte, length)
	n, errno := f.pread(b, int64(off))
	return b, errno == 0 && n == len(b)
}

// regular refuses what is no regular file.
func regular(mode uint32) *fault {
	kind := mode & unix.S_IFMT
	if kind == unix.S_IFREG {
		return nil
	}
	if kind == unix.S_IFLNK {
		return faultf(unix.ELOOP, "is a symbolic link, which was not to be followed")
	}
	if s, ok := fileKinds[kind]; ok {
		return faultf(unix.EACCES, "%s", s)
	}
	return faultf(unix.EACCES, "is not a regular file")
}

var fileKinds = map[uint32]string{
	unix.S_IFDIR: "is a directory, not a program", unix.S_IFIFO: "is a FIFO, not a program", unix.S_IFSOCK: "is a socket, not a program",
	unix.S_IFCHR: "is a device, not a program", unix.S_IFBLK: "is a device, not a program",
}

// explainOpen is for a file that can be found but not opened.
func explainOpen(mode uint32, errno unix.Errno) *fault {
	switch {
	case errno != unix.EACCES:
		return explainPath(errno)
	case mode&0o111 == 0:
		return faultf(errno, "is not executable: chmod +x it")
	}
	return faultf(errno, "may not be read by this user; kmdev has to read a program to run it: chmod +r it")
}

func explainPath(errno unix.Errno) *fault {
	switch errno {
	case unix.ENOENT:
		return faultf(errno, "no such file")
	case unix.EACCES:
		return faultf(errno, "permission denied: this user may not enter a directory on the way to it")
	case unix.ENOTDIR:
		return faultf(errno, "a part of the path is not a directory")
	case unix.ELOOP:
		return faultf(errno, "too many symbolic links")
	case unix.ENAMETOOLONG:
		return faultf(errno, "the path is too long")
	case unix.EMFILE, unix.ENFILE:
		return faultf(errno, "too many open files: raise the limit (ulimit -n) or close some")
	}
	return faultf(errno, "cannot be opened: %s", errno)
}

func explainAccess(fd int, mode uint32, errno unix.Errno) *fault {
	if errno != unix.EACCES {
		return faultf(errno, "may not be run: %s", errno)
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		return faultf(errno, "is on a file system mounted noexec: copy it elsewhere, or remount that with exec")
	}
	if mode&0o111 == 0 {
		return faultf(errno, "is not executable: chmod +x it")
	}
	return faultf(errno, "may not be run by this user: permission denied")
}

func toErrno(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}
