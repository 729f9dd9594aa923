package live_test

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/debug"
)

// The ptrace requests that x/sys has no function for (ptrace(2)).

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func seize(pid, options int) error { return ptrace(unix.PTRACE_SEIZE, pid, 0, uintptr(options)) }
func interrupt(tid int) error      { return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0) }
func step(tid, sig int) error      { return ptrace(unix.PTRACE_SINGLESTEP, tid, 0, uintptr(sig)) }

func getSiginfo(tid int) (info debug.Siginfo) {
	ptrace(unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(&info)))
	return info
}

func setSiginfo(tid int, info *debug.Siginfo) error {
	return ptrace(unix.PTRACE_SETSIGINFO, tid, 0, uintptr(unsafe.Pointer(info)))
}

// userRegs is the same structure under x/sys's field names.
func userRegs(r *debug.Regs) *unix.PtraceRegs { return (*unix.PtraceRegs)(unsafe.Pointer(r)) }

const ntX86Xstate = 0x202

func getXsave(tid int) ([]byte, error) {
	p := make([]byte, 16384)
	iov := unix.Iovec{Base: &p[0], Len: uint64(len(p))}
	err := ptrace(unix.PTRACE_GETREGSET, tid, ntX86Xstate, uintptr(unsafe.Pointer(&iov)))
	return p[:iov.Len], err
}

func setXsave(tid int, p []byte) error {
	iov := unix.Iovec{Base: &p[0], Len: uint64(len(p))}
	return ptrace(unix.PTRACE_SETREGSET, tid, ntX86Xstate, uintptr(unsafe.Pointer(&iov)))
}
