package sys

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// memFile is the payload's /proc/self/mem. What it holds is an empty sealed file
// of the monitor's, opened anew each time: it has the access mode and the
// offset. Reads and writes of that file are made on the real one, in the window.
// A child of fork finds it empty, where Linux would show the parent.
type memFile struct {
	mu    sync.Mutex
	empty int // 0: not made yet
	id    fileID
	real  int
}

var mem memFile

// open gives the payload its view in place of fd, the host's file.
func (m *memFile) open(t task, proc *procMount, fd int, h how) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.make(t, proc)
	if e == 0 {
		e = m.replace(proc, fd, h)
	}
	if e != 0 {
		closeFD(fd)
		return fail(e)
	}
	return uint64(fd)
}

func (m *memFile) replace(proc *procMount, fd int, h how) unix.Errno {
	view, err := unix.Openat(proc.fd, fdPath(m.empty), int(h.flags&unix.O_ACCMODE)|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer closeFD(view)
	return errnoOf0(unix.Dup3(view, fd, int(h.flags&unix.O_CLOEXEC)))
}

func (m *memFile) make(t task, proc *procMount) unix.Errno {
	if m.empty != 0 {
		return 0
	}
	real, err := ownedFD(t, func() (int, error) { return unix.Openat(proc.fd, "self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0) })
	if err != nil {
		return errnoOf(err)
	}
	empty, err := ownedFD(t, func() (int, error) { return unix.MemfdCreate("mem", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING) })
	if err != nil {
		closeFD(real)
		return errnoOf(err)
	}
	unix.Fchmod(empty, 0o600)
	unix.FcntlInt(uintptr(empty), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	var x unix.Statx_t
	if !statxFD(empty, &x, 0) {
		closeFD(real)
		closeFD(empty)
		return unix.EIO
	}
	m.empty, m.real, m.id = empty, real, idOf(&x)
	hypercall.SetTransfer(m.transfer)
	return 0
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

// transfer serves a read or write of the view.
func (m *memFile) transfer(t task, r *hypercall.Row, a args) (uint64, bool) {
	fd := int(int32(a[0]))
	var x unix.Statx_t
	if !hypercall.ValidFD(t, a[0]) || !statxFD(fd, &x, 0) || idOf(&x) != m.id {
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
	n := m.move(pieces, off, write)
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
func (m *memFile) move(pieces []piece, off uint64, write bool) (done uint64) {
	nr := uintptr(unix.SYS_PREAD64)
	if write {
		nr = unix.SYS_PWRITE64
	}
	for _, p := range pieces {
		if p.n == 0 {
			continue
		}
		r, e := uintptr(0), unix.EIO
		if off < usermem.Size {
			n := min(p.n, usermem.Size-off)
			r, e = slow(nr, uintptr(m.real), hypercall.Pointer(p.at, n), uintptr(n), uintptr(usermem.Window+off), 0, 0)
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
