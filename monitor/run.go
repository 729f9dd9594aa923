package monitor

import (
	"fmt"

	"kmdev/monitor/guest"
	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// arrival is what brought a vCPU back from the guest.
type arrival int

const (
	arrivedUser      arrival = iota // nothing of the payload's: a signal is pending, or KVM wants something
	arrivedHypercall                // SYSCALL
	arrivedException                // t.vector and t.frame say which
	arrivedOdd                      // an exit no payload should be able to cause
)

// rflags bits.
const (
	flagTF = 1 << 8
	flagRF = 1 << 16

	// ownFlags are those that a program can set by itself; flagFixed are always set. A payload that jumps to the SYSCALL entry
	// has others in R11 than the instruction would put there.
	ownFlags  = 0x254dd5
	flagFixed = 0x202
)

// run is a payload thread's life in the guest: enter, see what came out, serve it, until the thread is done. On the
// thread's own host thread, which stays locked.
func (t *Thread) run() {
	for {
		if t.busy || t.want.Load() != 0 {
			t.settle()
		}
		if t.done {
			return
		}
		t.prepare()
		t.generation = t.m.as.Generation()
		e := t.enter()
		if t.done {
			return
		}
		switch t.arrive(e) {
		case arrivedHypercall:
			t.hypercall()
		case arrivedException:
			t.exception()
		case arrivedUser:
			t.interrupted(e)
		default:
			t.broken(e)
		}
		if t.done {
			return
		}
	}
}

// enter is KVM_RUN.
func (t *Thread) enter() unix.Errno {
	if v := t.m.vfork; v != nil {
		return t.enterVforked(v)
	}
	return t.v.Enter()
}

// prepare makes the run page say how to go on. Registers in the run page are the payload's own at this point; a vCPU that
// is still inside the landing pad is either sent through its SYSRET or put back to CPL 3.
func (t *Thread) prepare() {
	run := t.v.Run
	if t.stepping {
		run.Regs.Rflags |= flagTF
		t.dirty |= kvm.SyncRegs
	}
	if t.kernel {
		if t.sysret && run.Regs.Rip == run.Regs.Rcx && run.Regs.Rflags == run.Regs.R11 && t.dirty&kvm.SyncSregs == 0 {
			run.Regs.Rip, run.Regs.Rflags = t.padRIP, t.padFlags
			t.dirty |= kvm.SyncRegs
		} else {
			guest.ToUser(&run.Sregs)
			t.dirty |= kvm.SyncRegs | kvm.SyncSregs
		}
		t.kernel, t.sysret = false, false
	}
	run.DirtyRegs = t.dirty
	t.dirty = 0
	t.syncMask()
}

// arrive makes the run page's registers the payload's own, whatever point of the landing pad the vCPU is at, and says
// what happened. RIP alone decides, not the exit reason: a signal may end KVM_RUN on the landing pad's instruction
// before the OUT, and that must count as the trap it is, since the payload's registers are not in place there.
func (t *Thread) arrive(e unix.Errno) arrival {
	run := t.v.Run
	at := t.m.pad.Where(run.Regs.Rip)
	if at.Place == guest.AtException && run.Sregs.CS.DPL == 3 {
		at.Place = guest.AtUser // a jump of the payload's own to the stub, which has not faulted yet
	}
	if at.Place == guest.AtSysret && e == 0 && run.ExitReason == kvm.ExitIO {
		at.Place = guest.AtSyscall // this host leaves RIP behind the OUT
	}
	switch at.Place {
	case guest.AtUser:
		t.hideStepFlag()
		return t.arriveUser(e)
	case guest.AtSyscall:
		t.kernel = run.Sregs.CS.DPL != 3
		if t.kernel == t.m.pad.PVM() {
			t.switchEntry(!t.kernel)
		}
		t.sysret, t.padRIP, t.padFlags = t.kernel, run.Regs.Rip, run.Regs.Rflags
		t.fromSyscall()
		if run.Regs.Rip >= usermem.Size { // a jump of the payload's own to the entry
			t.vector, t.frame = vectorGP, guest.Frame{RIP: run.Regs.Rip}
			return arrivedException
		}
		return arrivedHypercall
	case guest.AtSysret:
		t.kernel = true
		t.fromSyscall()
		return arrivedUser
	default:
		t.kernel = true
		t.vector = at.Vector
		t.frame = t.m.pad.Frame(t.v.id, at.Vector)
		run.Regs.Rip, run.Regs.Rsp, run.Regs.Rflags = t.frame.RIP, t.frame.RSP, t.frame.RFLAGS
		t.hideStepFlag()
		return arrivedException
	}
}

// fromSyscall undoes what the SYSCALL instruction did to RIP and RFLAGS. R11 keeps the flags the payload had, without the
// TF that single stepping put there.
func (t *Thread) fromSyscall() {
	r := &t.v.Run.Regs
	if t.stepping && !t.payloadTF {
		r.R11 &^= flagTF
	}
	r.Rip, r.Rflags = r.Rcx, r.R11&ownFlags|flagFixed
	t.dirty |= kvm.SyncRegs
}

func (t *Thread) hideStepFlag() {
	if t.stepping && !t.payloadTF {
		t.v.Run.Regs.Rflags &^= flagTF
	}
}

// arriveUser sorts the ways to come back with RIP in the payload's own code.
func (t *Thread) arriveUser(e unix.Errno) arrival {
	run := t.v.Run
	if ev := kvm.PendingException(&run.Events); ev.Vector >= 0 && e == unix.EINTR {
		// KVM has an exception of the payload's to inject and a signal came first. Taking the exception here and now
		// keeps them in order; a trap's RIP has already moved on, so it can't be found again by running.
		kvm.ClearException(&run.Events)
		t.dirty |= kvm.SyncEvents
		t.vector = ev.Vector
		t.frame = guest.Frame{Err: uint64(ev.ErrorCode), RIP: run.Regs.Rip, CS: guest.UserCS, RFLAGS: run.Regs.Rflags, RSP: run.Regs.Rsp, SS: guest.UserSS}
		return arrivedException
	}
	if e != 0 {
		return arrivedUser
	}
	switch run.ExitReason {
	case kvm.ExitIntr:
		return arrivedUser
	case kvm.ExitIO, kvm.ExitHLT:
		// An OUT, IN or HLT of the payload's own where the host lets it through: #GP, as on Linux.
		if run.ExitReason == kvm.ExitIO {
			t.undoIO()
		}
		t.vector, t.frame = vectorGP, guest.Frame{RIP: run.Regs.Rip}
		return arrivedException
	}
	return arrivedOdd
}

// undoIO ends a port access of the payload's own and brings it back to before the instruction. KVM may have left half of it for
// the next KVM_RUN, which would overwrite what is set until then (api.rst §5, KVM_EXIT_IO): that one happens here.
func (t *Thread) undoIO() {
	const out, wide = 1, 2
	run := t.v.Run
	regs, io := run.Regs, run.Exit[0]
	run.DirtyRegs = 0
	t.v.SetImmediateExit(true)
	t.v.Enter()
	t.v.SetImmediateExit(false)
	run.Regs = regs
	t.dirty |= kvm.SyncRegs
	direction, size, port := byte(io), byte(io>>8), byte(io>>16)
	var code [3]byte // what ends at RIP
	if direction != out || usermem.CopyIn(code[:], regs.Rip-3) != 0 {
		return // KVM has not moved on
	}
	length := uint64(0)
	switch last := code[2]; {
	case code[1]&^1 == 0xe6 && last == port:
		length = 2
	case last&^1 == 0xee || last&^1 == 0x6e:
		length = 1
	default:
		return
	}
	if size == wide && code[2-length] == 0x66 {
		length++
	}
	run.Regs.Rip -= length
}

// switchEntry corrects the guess about where SYSCALL enters. The first SYSCALL of the first thread proves or disproves it,
// so this is the only vCPU.
func (t *Thread) switchEntry(pvm bool) {
	m := t.m
	m.host.PVM = pvm
	m.pad.SetPVM(pvm)
	m.pad.InitVCPU(t.v.id)
	for i, e := range m.pad.PML4Entries() {
		m.as.SetKernelEntry(i, e)
	}
	if err := t.v.SetMSRs(m.pad.MSRs()); err != nil {
		m.log.Error("moving the SYSCALL entry", "err", err)
		m.die(unix.SIGABRT)
	}
}

// interrupted handles a KVM_RUN that came back without an event of the payload's.
func (t *Thread) interrupted(e unix.Errno) {
	switch e {
	case unix.EAGAIN:
		t.starved()
	case 0, unix.EINTR:
		t.busy = true
	case unix.EFAULT, unix.EHWPOISON:
		t.unbacked(e)
	default:
		t.broken(e)
	}
}

// starved handles a KVM_RUN that failed with EAGAIN. With the registers untaken, it is because KVM finds no room for the thread
// that recovers its huge pages (the first KVM_RUN of a VM starts it), and has overwritten them.
func (t *Thread) starved() {
	if t.v.Run.DirtyRegs == 0 {
		t.busy = true
		return
	}
	t.m.log.Error("KVM can't start a thread for the VM: raise ulimit -u, or pids.max of the cgroup")
	t.m.die(unix.SIGKILL)
}

// unbacked handles a KVM_RUN that could not find host memory behind a page-table entry: a file got shorter, or another
// thread is in the middle of changing the mapping. Revalidate waits for the latter and makes the former an exact fault.
func (t *Thread) unbacked(e unix.Errno) {
	if !t.m.as.Revalidate(t.generation) {
		t.broken(e)
	}
}

// broken ends the process when KVM gives up on it: nothing the payload did can be resumed.
func (t *Thread) broken(e unix.Errno) {
	run := t.v.Run
	t.m.log.Error("the VM cannot go on", "errno", e, "exit", run.ExitReason, "data", fmt.Sprintf("%x", run.Exit[:4]),
		"rip", fmt.Sprintf("%#x", run.Regs.Rip), "cs", run.Sregs.CS.Selector, "cr2", fmt.Sprintf("%#x", run.Sregs.CR2))
	t.m.die(unix.SIGABRT)
}
