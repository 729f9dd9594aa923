package memory

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faultFD is a userfaultfd over payload memory: whoever touches it waits until it is resolved, as for a slow file.
type faultFD struct {
	t   testing.TB
	fd  int
	gva uint64
	n   uint64
}

// ioctls and structs of userfaultfd(2).
const (
	uffdAPI      = 0xc018aa3f
	uffdRegister = 0xc020aa00
	uffdZeropage = 0xc020aa04
)

func waitAt(t testing.TB, gva, n uint64) *faultFD {
	t.Helper()
	fd, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		t.Skip("userfaultfd:", e)
	}
	if e != 0 {
		t.Fatal(e)
	}
	f := &faultFD{t, int(fd), gva, n}
	f.ioctl(uffdAPI, []uint64{0xaa, 0, 0})
	f.ioctl(uffdRegister, []uint64{uint64(host(gva)), n, 1, 0})
	return f
}

func (f *faultFD) ioctl(req uintptr, arg []uint64) {
	f.t.Helper()
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), req, uintptr(unsafe.Pointer(&arg[0]))); e != 0 {
		f.t.Fatalf("userfaultfd ioctl %#x: %v", req, e)
	}
}

// wait returns when somebody waits at the memory.
func (f *faultFD) wait() {
	f.t.Helper()
	var msg [32]byte
	if n, err := unix.Read(f.fd, msg[:]); n != len(msg) || err != nil {
		f.t.Fatal(n, err)
	}
}

// resolve makes it pages of zeros.
func (f *faultFD) resolve() {
	f.ioctl(uffdZeropage, []uint64{uint64(host(f.gva)), f.n, 0, 0})
	unix.Close(f.fd)
}
