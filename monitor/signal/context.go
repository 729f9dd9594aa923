package signal

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/kvm"
)

// Mem is the payload's memory, by its own addresses. Both calls return 0 or EFAULT and may have copied a part when
// they fail.
type Mem interface {
	CopyIn(dst []byte, gva uint64) unix.Errno
	CopyOut(gva uint64, src []byte) unix.Errno
}

// Context is a payload thread as Deliver and Sigreturn see it. One per vCPU thread, used by that thread only; what the
// pointers lead to is changed in place.
type Context struct {
	Mem     Mem
	XState  *cpu.XState // layout of the payload's XSAVE area: its XCR0's
	Actions *Actions
	Thread  *ThreadState
	Regs    *kvm.Regs
	FP      []byte // standard-format XSAVE image as KVM_GET_XSAVE gives it, at least XState.Size bytes

	// Room for what passes through Mem, so that a signal makes no garbage.
	frame   sigframe
	area    []byte // FP part of a frame
	start   [xsEnd]byte
	closing [magicSize]byte
}

// Kind is what became of a Deliver or Sigreturn.
type Kind uint8

const (
	// Done: registers, mask and FP are new. FP must be loaded (KVM_SET_XSAVE) before the thread runs.
	Done Kind = iota
	// Forced: the frame could not be written or read, or would make the CPU fault at once. Registers and FP hold what
	// Linux's would. Outcome.Info is a SIGSEGV, already forced: take and deliver it next, before any other signal.
	Forced
	// Killed: the process dies of SIGSEGV with a core dump, whatever its actions: SIGSEGV's own frame failed.
	Killed
)

// Outcome is the result of Deliver and Sigreturn.
type Outcome struct {
	Kind Kind
	Info Siginfo // of Forced and Killed
}

func (c *Context) forced() Outcome {
	c.Actions.Force(c.Thread, int(unix.SIGSEGV))
	return Outcome{Kind: Forced, Info: KernelInfo(int(unix.SIGSEGV))}
}

// finish ends a Deliver or Sigreturn that changed the instruction pointer.
func (c *Context) finish() Outcome {
	if f, bad := BadEntry(c.Regs); bad {
		return c.fault(f)
	}
	return Outcome{Kind: Done}
}

func (c *Context) fault(f Fault) Outcome {
	info, _ := f.Info(c.Regs)
	c.Thread.SetTrap(f)
	c.Actions.Force(c.Thread, info.Signo())
	return Outcome{Kind: Forced, Info: info}
}

// BadEntry tells whether a CPU given these registers would fault before it executes anything: a VM entry with a
// non-canonical RIP fails altogether (Intel SDM vol. 3, §27.3.1.4), where Linux's payload gets #GP. Who lets payload
// or debugger choose RIP asks here before KVM_RUN.
func BadEntry(regs *kvm.Regs) (Fault, bool) {
	if int64(regs.Rip<<16)>>16 == int64(regs.Rip) {
		return Fault{}, false
	}
	return Fault{Vector: VectorGP}, true
}
