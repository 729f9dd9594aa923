//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vfork is a child process that shares this process's memory, made by clone with CLONE_VM and CLONE_VFORK. The calling
// goroutine goes on in the child, on the same thread of Go's, while the parent sleeps in the kernel; when the child has
// ended or executed another program, the goroutine goes on in the parent, at the place where the child has left. So there
// is one goroutine and one flow of control, and only the process that its system calls are made in changes:
//
//	v.Begin(…)     parent before, child after
//	…              any Go code; its system calls are the child's
//	v.Leave(…)     child before, parent after (or still the child, if the call came back)
//
// Go's scheduler knows of nothing: the thread's futexes are in shared memory, a new thread is started by the template
// thread and not by this one (the goroutine is locked to its thread), and no signal is the runtime's.
//
// The descriptors are a copy: one that the child opens is not the parent's, and no monitor descriptor may be opened or
// closed for keeps between Begin and Leave.
//
// If the child is killed (SIGKILL) in a call of Run's, or in one of a Block's that it has been given (Block.Vforked), the parent
// goes on as if that call had ended with EINTR, and Ended tells. Killed in the monitor's own code, the child takes the parent
// along. If the parent is killed, the child goes on as long as it needs no other thread of the runtime's.
//
// Assembly knows the fields by name.
type Vfork struct {
	clone  step
	pid    uintptr
	sp, bp uintptr // where the child is about to leave, else 0
	ended  uint32
	open   uint64 // a mask, for Die
	run    step
	result uintptr // of a Block's: where EINTR goes
}

// step is a system call.
type step struct {
	nr   uintptr
	args [6]uintptr
}

var vforkLost = "kmdev: a vfork child was killed within the monitor that its parent shares: both end\n"

func vforkBegin(v *Vfork) (pid uintptr)

//go:noescape
func vforkLeave(v *Vfork, call *step) (result uintptr)

// Begin makes the child by the clone(2) or clone3(2) given. 0: the caller is the child. Otherwise -errno. On a payload
// thread. Pointers in the call must not lie in a Go stack.
func (v *Vfork) Begin(nr uintptr, args [5]uintptr) uintptr {
	v.clone = step{nr, [6]uintptr{args[0], args[1], args[2], args[3], args[4]}}
	return vforkBegin(v)
}

// Leave makes the child's last system call: execveat, exit_group, or one at which a signal strikes. ended tells that the
// child is gone and the caller is the parent again; else result is the call's, which has failed.
func (v *Vfork) Leave(nr, a0, a1, a2, a3, a4 uintptr) (result uintptr, ended bool) {
	call := &step{nr, [6]uintptr{a0, a1, a2, a3, a4}}
	result = vforkLeave(v, call)
	runtime.KeepAlive(call)
	return result, v.ended != 0
}

// Run is unix.Syscall for a call of the child's that may take long: KVM_RUN.
//
//go:uintptrescapes
//go:nosplit
func (v *Vfork) Run(nr, a0, a1, a2 uintptr) (result uintptr) {
	v.run = step{nr, [6]uintptr{a0, a1, a2}}
	// No stack growth between the two: entersyscall has recorded this frame.
	entersyscall()
	result = vforkLeave(v, &v.run)
	exitsyscall()
	if v.ended != 0 {
		return ^uintptr(unix.EINTR) + 1
	}
	return result
}

// Ended tells whether the child is gone and the caller is the parent.
func (v *Vfork) Ended() bool { return v.ended != 0 }

// Vforked makes the calls of b, the child's, ones in which the child may be killed. nil ends that.
func (b *Block) Vforked(v *Vfork) { b.vfork = v.self() }

func (v *Vfork) self() uintptr { return uintptr(unsafe.Pointer(v)) }

// Pid is the child's, once it has ended.
func (v *Vfork) Pid() int { return int(v.pid) }

// Die ends the child by a signal whose default action is to end it: ResetForDeath for a Vfork. It returns in the parent.
func (v *Vfork) Die(sig int) {
	none := unix.Rlimit{} // no core: the memory is the parent's
	raw6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	rtSigaction(sig, &sigaction{}, nil) // the child's own: CLONE_SIGHAND is not set
	setMask(^uint64(0))
	raw6(unix.SYS_TGKILL, getpid(), gettid(), uintptr(sig), 0, 0, 0)
	v.open = ^(uint64(1) << (sig - 1))
	if _, ended := v.Leave(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&v.open)), 0, 8, 0); !ended {
		v.Leave(unix.SYS_EXIT_GROUP, uintptr(128+sig), 0, 0, 0, 0)
	}
	setMask(threadMask)
}
