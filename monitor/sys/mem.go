package sys

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// windowFiles are the payload's views of /proc/PID/mem and pagemap. What a payload
// holds is an empty sealed file of the monitor's, opened anew each time: it has
// the access mode and the offset. Reads and writes of that file are made on the
// real one, where the window is. A child of fork finds it empty, where Linux
// would show the parent.
type windowFiles struct {
	mu     sync.Mutex
	views  map[fileID]*windowView
	own    map[string]*windowView // of this process, by name
	others []*windowView          // of relatives, the oldest first
}

// windowView is one such file.
type windowView struct {
	id          fileID
	empty, real int
	base, size  uint64     // where the window is in the real file, in bytes
	beyond      unix.Errno // of an access past it; 0: it is the end
}

var windows windowFiles

// mostViews is how many files of relatives are kept; older ones read as empty.
const mostViews = 16

// A page of payload memory, and its entry in pagemap; bytes.
const (
	pageSize     = 4096
	pagemapEntry = 8
)

// open gives the payload its view in place of fd, the host's file.
func (w *windowFiles) open(t task, proc *procMount, fd int, ref *procRef, h how) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, e := w.view(t, proc, ref)
	if e == 0 {
		e = v.replace(proc, fd, h)
	}
	if e != 0 {
		closeFD(fd)
		return fail(e)
	}
	return uint64(fd)
}

// view returns the view of a file, a new one each time for a relative's, who may
// execute another program or be gone.
func (w *windowFiles) view(t task, proc *procMount, ref *procRef) (*windowView, unix.Errno) {
	name := ref.tail[0]
	if v := w.own[name]; v != nil && ref.own {
		return v, 0
	}
	dir := "self"
	if !ref.own {
		dir = ref.dir()
	}
	v, e := newWindowView(t, proc, dir, name)
	if e != 0 {
		return nil, e
	}
	if w.views == nil {
		w.views, w.own = map[fileID]*windowView{}, map[string]*windowView{}
	}
	w.views[v.id] = v
	if ref.own {
		w.own[name] = v
	} else if w.others = append(w.others, v); len(w.others) > mostViews {
		w.drop(w.others[0])
		w.others = w.others[1:]
	}
	hypercall.SetTransfer(w.transfer)
	return v, 0
}

func (w *windowFiles) drop(v *windowView) {
	delete(w.views, v.id)
	closeFD(v.real)
	closeFD(v.empty)
}

func (v *windowView) replace(proc *procMount, fd int, h how) unix.Errno {
	view, err := unix.Openat(proc.fd, fdPath(v.empty), int(h.flags&unix.O_ACCMODE)|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer closeFD(view)
	return errnoOf0(unix.Dup3(view, fd, int(h.flags&unix.O_CLOEXEC)))
}

func newWindowView(t task, proc *procMount, dir, name string) (*windowView, unix.Errno) {
	v := &windowView{base: usermem.Window, size: usermem.Size, beyond: unix.EIO}
	mode := unix.O_RDWR
	if name == "pagemap" {
		v.base, v.size, v.beyond = usermem.Window/pageSize*pagemapEntry, usermem.Size/pageSize*pagemapEntry, 0
		mode = unix.O_RDONLY
	}
	var err error
	v.real, err = ownedFD(t, func() (int, error) { return unix.Openat(proc.fd, dir+"/"+name, mode|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, errnoOf(err)
	}
	v.empty, err = ownedFD(t, func() (int, error) { return unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING) })
	if err != nil {
		closeFD(v.real)
		return nil, errnoOf(err)
	}
	unix.Fchmod(v.empty, 0o600)
	unix.FcntlInt(uintptr(v.empty), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	var x unix.Statx_t
	if !statxFD(v.empty, &x, 0) {
		closeFD(v.real)
		closeFD(v.empty)
		return nil, unix.EIO
	}
	v.id = idOf(&x)
	return v, 0
}

// ownedFD opens a descriptor for the monitor.
func ownedFD(t task, open func() (int, error)) (int, error) {
	fd, err := open()
	if err != nil {
		return -1, err
	}
	own, err := t.Process().OwnFD(fd)
	if err != nil {
		closeFD(fd)
	}
	return own, err
}

// piece is a part of the payload's buffer.
type piece struct{ at, n uint64 }

// transfer serves a read or write of a view.
func (w *windowFiles) transfer(t task, r *hypercall.Row, a args) (uint64, bool) {
	fd := int(int32(a[0]))
	var x unix.Statx_t
	if !hypercall.ValidFD(t, a[0]) || !statxFD(fd, &x, 0) {
		return 0, false
	}
	w.mu.Lock()
	v := w.views[idOf(&x)]
	w.mu.Unlock()
	if v == nil {
		return 0, false
	}
	write := r.Args[1].Type.Reads()
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if forbidden := map[bool]int{false: unix.O_WRONLY, true: unix.O_RDONLY}[write]; err != nil || mode&unix.O_ACCMODE == forbidden {
		return fail(unix.EBADF), true
	}
	pieces, e := piecesOf(r, a)
	if e != 0 {
		return fail(e), true
	}
	off, explicit := offsetOf(r, a)
	if !explicit {
		off = raw(unix.SYS_LSEEK, uintptr(fd), 0, unix.SEEK_CUR, 0, 0, 0)
	}
	n := v.move(pieces, off, write)
	if !explicit && hypercall.Errno(n) == 0 {
		raw(unix.SYS_LSEEK, uintptr(fd), uintptr(off+n), unix.SEEK_SET, 0, 0, 0)
	}
	return n, true
}

// piecesOf returns the buffers of a read or write.
func piecesOf(r *hypercall.Row, a args) ([]piece, unix.Errno) {
	if r.Args[1].Type.Kind() != hypercall.IOVec {
		return []piece{{a[1], a[2]}}, 0
	}
	const most, size = 1024, 16
	if a[2] > most {
		return nil, unix.EINVAL
	}
	b := make([]byte, a[2]*size)
	if e := usermem.CopyIn(b, a[1]); e != 0 {
		return nil, e
	}
	var pieces []piece
	for ; len(b) > 0; b = b[size:] {
		if le64(b[8:]) > math.MaxInt64 {
			return nil, unix.EINVAL
		}
		pieces = append(pieces, piece{le64(b), le64(b[8:])})
	}
	return pieces, 0
}

// offsetOf returns the offset that a call gives; -1 of preadv2 is the file's own.
func offsetOf(r *hypercall.Row, a args) (off uint64, explicit bool) {
	explicit = len(r.Args) > 3 && (len(r.Args) < 6 || a[3] != ^uint64(0))
	return a[3], explicit
}

// move copies between buffers and memory as the kernel does for mem: with the
// right to read and write private pages whatever their protection.
func (v *windowView) move(pieces []piece, off uint64, write bool) (done uint64) {
	nr := uintptr(unix.SYS_PREAD64)
	if write {
		nr = unix.SYS_PWRITE64
	}
	for _, p := range pieces {
		if p.n == 0 {
			continue
		}
		r, e := uintptr(0), v.beyond
		if off < v.size {
			n := min(p.n, v.size-off)
			r, e = slow(nr, uintptr(v.real), hypercall.Pointer(p.at, n), uintptr(n), uintptr(v.base+off), 0, 0)
		}
		if e != 0 {
			if done > 0 {
				return done
			}
			return fail(e)
		}
		done, off = done+uint64(r), off+uint64(r)
		if uint64(r) < p.n {
			return done
		}
	}
	return done
}
