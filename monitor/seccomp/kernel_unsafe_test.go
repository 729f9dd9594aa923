package seccomp

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// oracleCall is no system call of Linux's: only a filter gives it another errno than ENOSYS.
const oracleCall = 900

const (
	setModeFilter = 1
	newListener   = 8
)

// install gives the calling thread, which must end with its goroutine, a filter of the host's own.
func install(prog []Insn, flags uintptr) (uintptr, unix.Errno) {
	b := encode(prog)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: (*unix.SockFilter)(unsafe.Pointer(&b[0]))}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, flags, uintptr(unsafe.Pointer(&fprog)))
	return fd, e
}

// oracle is a host thread that has a filter with a listener: another one is EBUSY for a valid program and EINVAL for
// an invalid one, and never gets in force.
type oracle struct {
	ask    chan []Insn
	answer chan unix.Errno
}

func newOracle(t *testing.T) *oracle {
	k := &oracle{make(chan []Insn), make(chan unix.Errno)}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			k.answer <- err.(unix.Errno)
			return
		}
		fd, e := install([]Insn{ret(Allow)}, newListener)
		k.answer <- e
		if e != 0 {
			return
		}
		for prog := range k.ask {
			_, e := install(prog, newListener)
			k.answer <- e
		}
		unix.Close(int(fd))
		k.answer <- 0
	}()
	if e := <-k.answer; e != 0 {
		t.Fatalf("a filter with a listener: %v", e)
	}
	return k
}

func (k *oracle) close() {
	close(k.ask)
	<-k.answer
}

func (k *oracle) valid(t *testing.T, prog []Insn) bool {
	k.ask <- prog
	switch e := <-k.answer; e {
	case unix.EBUSY:
		return true
	case unix.EINVAL:
		return false
	default:
		t.Fatalf("%v: %v", prog, e)
		return false
	}
}

// kernelResult is the errno that the host's kernel computes by prog, which must end in ERRNO.
func kernelResult(t *testing.T, prog []Insn, args [6]uint64) unix.Errno {
	t.Helper()
	whole := append([]Insn{ld(0), jeq(oracleCall, 1, 0), ret(Allow)}, prog...)
	result := make(chan unix.Errno, 1)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			failed <- err
			return
		}
		if _, e := install(whole, 0); e != 0 {
			failed <- e
			return
		}
		_, _, e := unix.RawSyscall6(oracleCall, uintptr(args[0]), uintptr(args[1]), uintptr(args[2]), uintptr(args[3]), uintptr(args[4]), uintptr(args[5]))
		result <- e
	}()
	select {
	case e := <-result:
		return e
	case err := <-failed:
		t.Fatalf("installing %v: %v", whole, err)
		return 0
	}
}
