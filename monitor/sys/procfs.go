package sys

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/procview"
)

// procMount is the procfs of this process: a descriptor of the monitor's own,
// through which it reaches files of /proc/self whatever the payload's root is. If
// the host permits, it is a mount that nobody else sees and from which .. leads
// nowhere: a payload in a chroot finds no way out through it.
type procMount struct {
	once     sync.Once
	opened   atomic.Bool
	fd       int // -1: no procfs on /proc
	detached bool
	dev      uint64 // device number of its files
	self     string // name of this process in it
	exe      fileID // the monitor's executable
}

var proc procMount

// fileID identifies a file while it exists.
type fileID struct{ dev, ino uint64 }

// procfs returns the mount, opening it the first time. It must be called before
// the payload changes its root.
func procfs(t task) *procMount {
	proc.once.Do(func() { proc.open(t) })
	return &proc
}

// OpenProc opens the monitor's procfs if it is not open yet: what a vfork child opens would be the child's alone.
func OpenProc(t hypercall.Task) { procfs(t) }

func (p *procMount) open(t task) {
	p.fd, p.dev = -1, 0
	defer p.opened.Store(true)
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	p.detached = err == nil
	if err != nil {
		fd, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return
	}
	if own, err := t.Process().KeepFD(fd); err == nil {
		fd = own
	}
	var fs unix.Statfs_t
	var x, exe unix.Statx_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC || !statxFD(fd, &x, 0) {
		unix.Close(fd)
		return
	}
	p.fd, p.dev = fd, devOf(&x)
	p.readSelf(t.Pid())
	if unix.Statx(fd, "self/exe", 0, unix.STATX_INO, &exe) == nil {
		p.exe = idOf(&exe)
	}
}

// readSelf finds out by what name this process goes there.
func (p *procMount) readSelf(pid int) {
	p.self = strconv.Itoa(pid)
	if name, err := readlinkat(p.fd, "self"); err == nil {
		p.self = name
	}
}

// rooted is told that the payload has another root now. A descriptor of a mount
// outside of it would be a way out.
func (p *procMount) rooted(t task) {
	if p.fd >= 0 && !p.detached {
		closeFD(p.fd)
		p.open(t)
	}
}

// fdPath is the path below the mount of a descriptor of this thread: threads may
// have namespaces of their own.
func fdPath(fd int) string { return "thread-self/fd/" + strconv.Itoa(fd) }

func devOf(x *unix.Statx_t) uint64   { return uint64(x.Dev_major)<<32 | uint64(x.Dev_minor) }
func idOf(x *unix.Statx_t) fileID    { return fileID{devOf(x), x.Ino} }
func isLink(x *unix.Statx_t) bool    { return x.Mode&unix.S_IFMT == unix.S_IFLNK }
func isRegular(x *unix.Statx_t) bool { return x.Mode&unix.S_IFMT == unix.S_IFREG }
func isDir(x *unix.Statx_t) bool     { return x.Mode&unix.S_IFMT == unix.S_IFDIR }

// statxMntUnique asks for a mount id that is never used again (Linux 6.8).
const statxMntUnique = 0x4000

// notProc remembers mounts that are no procfs, by their unique ids.
var notProc [64]atomic.Uint64

// onProc tells whether an open file is on a procfs, of any mount.
func (p *procMount) onProc(fd int, x *unix.Statx_t) bool {
	switch {
	case x.Dev_major != 0: // a block device
		return false
	case p.fd >= 0 && devOf(x) == p.dev:
		return true
	}
	slot := &notProc[x.Mnt_id%uint64(len(notProc))]
	unique := x.Mask&statxMntUnique != 0
	if unique && slot.Load() == x.Mnt_id {
		return false
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		return true
	}
	if unique {
		slot.Store(x.Mnt_id)
	}
	return false
}

// path returns where an open file is below its procfs, like "123/fd/7", and
// whether that procfs is the trusted mount, whose process ids are known. ok is
// false if it can not be found out.
func (p *procMount) path(fd int) (rel string, trusted, ok bool) {
	var x unix.Statx_t
	if p.fd < 0 || !statxFD(fd, &x, 0) {
		return "", false, false
	}
	full, err := readlinkat(p.fd, fdPath(fd))
	if err != nil {
		return "", false, false
	}
	root, top, ok := mountOf(p, fd)
	if !ok {
		return "", false, false
	}
	if rel, ok = below(full, top); !ok {
		return "", false, false
	}
	rel = strings.Trim(root+"/"+rel, "/")
	return rel, devOf(&x) == p.dev || p.sameSelf(root, top, rel), true
}

// sameSelf tells whether a path below another procfs is this process's. What that one calls self is this process, in the numbers of
// its own pid namespace: only if the number is the same, and the path is about it, may the path be taken for one of the trusted
// mount's. A payload that makes it lie by mounts gets its own files instead.
func (p *procMount) sameSelf(root, top, rel string) bool {
	first, _, _ := strings.Cut(rel, "/")
	if root != "/" || first != p.self {
		return false
	}
	self, err := readlinkat(unix.AT_FDCWD, strings.TrimSuffix(top, "/")+"/self")
	return err == nil && self == p.self
}

// below strips a directory from a path.
func below(path, dir string) (string, bool) {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// procRef is what a path below a procfs is about.
type procRef struct {
	pid  int  // 0: not about a process
	tid  int  // of …/task/tid, else pid
	own  bool // it is this process, or can not be told from it
	sure bool // pid is one of the trusted mount's, so own and rel are right
	rel  hypercall.Relative
	tail []string // below the directory of the process or thread
}

// refer sorts a path below a procfs.
func (p *procMount) refer(t task, path string, trusted bool) procRef {
	part := strings.Split(path, "/")
	pid, err := strconv.Atoi(part[0])
	if err != nil || pid <= 0 {
		return procRef{tail: part}
	}
	r := procRef{pid: pid, tid: pid, tail: part[1:], sure: trusted}
	r.own = !trusted || part[0] == p.self || t.Process().HasThread(pid) || p.monitorThread(pid)
	if !r.own {
		r.rel = p.relative(t, pid)
	}
	if len(r.tail) >= 2 && r.tail[0] == "task" {
		if tid, err := strconv.Atoi(r.tail[1]); err == nil {
			r.tid, r.tail = tid, r.tail[2:]
		}
	}
	return r
}

// relative is the process of the tree that pid, or a thread pid of it, is.
func (p *procMount) relative(t task, pid int) hypercall.Relative {
	if p.fd < 0 {
		return nil
	}
	of := func(pid int) hypercall.Relative {
		return t.Process().Relative(pid, func() uint64 {
			text, _ := readFile(p.fd, strconv.Itoa(pid)+"/stat")
			return procview.StartTime(text)
		})
	}
	if r := of(pid); r != nil || !p.monitor(pid) {
		return r
	}
	status, _ := readFile(p.fd, strconv.Itoa(pid)+"/status")
	for line := range bytes.Lines(status) {
		if tgid, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(tgid))); err == nil && n != pid {
				return of(n)
			}
		}
	}
	return nil
}

// mine tells whether a reference is to this process for certain.
func (r *procRef) mine() bool { return r.own && r.sure }

// known tells whether the process is a payload of which the monitor knows enough
// to show it.
func (r *procRef) known() bool { return r.mine() || r.rel != nil }

// monitorThread tells whether a thread id is one of this process at all.
func (p *procMount) monitorThread(tid int) bool {
	return unix.Faccessat(p.fd, "self/task/"+strconv.Itoa(tid), unix.F_OK, 0) == nil
}

// monitor tells whether a process is a monitor like this one: it runs the same
// executable.
func (p *procMount) monitor(pid int) bool {
	var x unix.Statx_t
	err := unix.Statx(p.fd, strconv.Itoa(pid)+"/exe", 0, unix.STATX_INO, &x)
	// Without the right to look there is none to do harm either.
	return err == nil && idOf(&x) == p.exe
}

// allowed tells whether the payload may use a file of a procfs: 0, or the errno
// it gets.
func (p *procMount) allowed(t task, r procRef) unix.Errno {
	if r.pid == 0 || !r.own && r.rel == nil && !p.monitor(r.pid) {
		return 0
	}
	if !p.hasThread(t, &r) {
		return unix.ENOENT
	}
	if len(r.tail) == 0 {
		return 0
	}
	kind, e := kindOf(r.tail[0])
	switch {
	case kind == procWindow && !r.known():
		e = unix.EACCES
	case (r.tail[0] == "fd" || r.tail[0] == "fdinfo") && len(r.tail) == 2:
		if n, err := strconv.Atoi(r.tail[1]); err != nil || n >= r.fdLimit(t) {
			return unix.ENOENT
		}
	}
	if e != 0 {
		t.Process().Notef("/proc/PID/%s of a payload is refused: it would show the monitor", r.tail[0])
	}
	return e
}

// hasThread tells whether the thread of a reference is one of a payload's, or
// none at all.
func (p *procMount) hasThread(t task, r *procRef) bool {
	switch {
	case r.own && strconv.Itoa(r.tid) == p.self || r.rel != nil && r.rel.HasThread(r.tid):
		return true // a process stays in /proc when its first thread has exited
	case r.own:
		return t.Process().HasThread(r.tid) || !p.monitorThread(r.tid)
	}
	return r.rel == nil
}

// fdLimit is where the descriptors of a monitor begin: of another tree's, not
// below its soft limit on the host.
func (r *procRef) fdLimit(t task) int {
	switch {
	case r.rel != nil:
		return r.rel.FDLimit()
	case r.own:
		return t.FDLimit()
	}
	var l unix.Rlimit
	if unix.Prlimit(r.pid, unix.RLIMIT_NOFILE, nil, &l) != nil {
		return 0
	}
	return int(min(l.Cur, uint64(t.FDLimit())))
}

// dir is the directory of a reference below the mount.
func (r *procRef) dir() string {
	if r.tid == r.pid {
		return strconv.Itoa(r.pid)
	}
	return strconv.Itoa(r.pid) + "/task/" + strconv.Itoa(r.tid)
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// readFile reads a file of a procfs.
func readFile(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readAll(fd)
}

func readAll(fd int) ([]byte, error) {
	buf := make([]byte, 0, 8192)
	for {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return buf, err
		}
		buf = buf[:len(buf)+n]
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
	}
}
