package monitor

import (
	"runtime"
	"syscall"
	"unsafe"

	"kmdev/monitor/hostcall"

	"golang.org/x/sys/unix"
)

// hostClone3 is a clone3(2) or, if that can say all of it, a clone(2), which more sandboxes let through.
type hostClone3 struct{ args *[11]uint64 }

func newClone3(c *cloneArgs) hostClone3 {
	return hostClone3{&[11]uint64{c.flags, c.pidfd, c.childTID, c.parentTID, c.exitSignal, 0, 0, 0, c.setTID, c.setTIDSize, c.cgroup}}
}

// call is the system call's number and arguments. keepAlive goes after it.
func (h hostClone3) call() [6]uintptr {
	a := h.args
	flags, pidfd, childTID, parentTID, exitSignal := a[0], a[1], a[2], a[3], a[4]
	both := flags&unix.CLONE_PIDFD != 0 && flags&unix.CLONE_PARENT_SETTID != 0
	if a[9] != 0 || flags>>32 != 0 || flags&0xff != 0 || both {
		return [6]uintptr{unix.SYS_CLONE3, uintptr(unsafe.Pointer(a)), unsafe.Sizeof(*a)}
	}
	return [6]uintptr{unix.SYS_CLONE, uintptr(flags | exitSignal), 0, uintptr(parentTID | pidfd), uintptr(childTID), 0}
}

func (h hostClone3) keepAlive() { runtime.KeepAlive(h.args) }

// hostExec is an execveat(2) of the monitor's own binary.
type hostExec struct {
	fd        int
	empty     *byte
	argv, env []*byte
}

func execCall(fd int, argv, env []string) (*hostExec, unix.Errno) {
	a, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return nil, unix.EINVAL
	}
	e, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return nil, unix.EINVAL
	}
	return &hostExec{fd: fd, empty: new(byte), argv: a, env: e}, 0
}

func (x *hostExec) args() (fd, path, argv, env, flags uintptr) {
	return uintptr(x.fd), uintptr(unsafe.Pointer(x.empty)), uintptr(unsafe.Pointer(&x.argv[0])), uintptr(unsafe.Pointer(&x.env[0])), unix.AT_EMPTY_PATH
}

// do executes it; it returns -errno or not at all.
func (x *hostExec) do() uintptr {
	fd, path, argv, env, flags := x.args()
	r := hostcall.Execveat(fd, path, argv, env, flags)
	runtime.KeepAlive(x)
	return r
}

// vforked executes it in a vfork child; see hostcall.Vfork.Leave.
func (x *hostExec) vforked(v *hostcall.Vfork) (r uintptr, ended bool) {
	fd, path, argv, env, flags := x.args()
	r, ended = v.Leave(unix.SYS_EXECVEAT, fd, path, argv, env, flags)
	runtime.KeepAlive(x)
	return r, ended
}
