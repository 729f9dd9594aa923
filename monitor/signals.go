package monitor

import (
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/signal"

	"golang.org/x/sys/unix"
)

// kickSet is the host signal that kicks a vCPU thread; it stays open for everybody.
const kickSet = signal.Set(1) << (unix.SIGSTKFLT - 1)

// ignored are the signals that the payload ignores, by disposition or by default. They stay blocked on the host, so that
// they interrupt nothing. A debugger sees ignored signals too, as it does with ptrace.
func (m *Machine) ignored() signal.Set {
	if m.debug.attached.Load() {
		return 0
	}
	return m.actions.Ignored()
}

// hostMask is what the host keeps blocked for t in KVM_RUN and in a sleeping call.
func (m *Machine) hostMask(t *Thread) signal.Set {
	return (t.sig.Blocked() | m.ignored()) &^ kickSet
}

// syncMask tells KVM the thread's mask before an entry, where it must know. A signal that KVM wrongly leaves open costs one
// KVM_RUN that returns at once (see settle); one that it wrongly blocks would never be seen.
func (t *Thread) syncMask() {
	if blocked := uint64(t.sig.Blocked()); blocked != t.block.Blocked() {
		t.block.SetBlocked(blocked)
		t.publishBlocked(blocked)
	}
	mask := uint64(t.m.hostMask(t))
	if t.v.maskSet && t.v.mask&^mask == 0 {
		return
	}
	t.setMask(mask)
}

func (t *Thread) setMask(mask uint64) {
	if err := t.v.SetSignalMask(mask); err != nil {
		t.m.log.Error("signal mask", "err", err)
		t.m.die(unix.SIGABRT)
	}
	t.v.mask, t.v.maskSet = mask, true
}

// settle does what is due before the guest is entered: signals, the debugger's stop, the restart of an interrupted
// hypercall. On return nothing is, or the thread is done.
func (t *Thread) settle() {
	t.busy = false
	took := false
	for !t.done {
		if info, ok := t.nextSignal(); ok {
			took = true
			t.signal(&info)
			continue
		}
		if t.want.Load() == 0 {
			break
		}
		t.attend()
	}
	if t.done {
		return
	}
	t.resume(false, false)
	t.sig.RestoreMask()
	if !took {
		// KVM_RUN came back for a signal that the payload blocks by now: tell KVM.
		if mask := uint64(t.m.hostMask(t)); !t.v.maskSet || t.v.mask != mask {
			t.setMask(mask)
		}
	}
}

// nextSignal takes a pending signal of the payload's that it does not block.
func (t *Thread) nextSignal() (signal.Siginfo, bool) {
	if n := len(t.held); n > 0 {
		info := t.held[0]
		t.held = t.held[1:]
		return info, true
	}
	for {
		info, ok := t.block.Signal()
		if !ok {
			info, ok = hostcall.Dequeue(uint64(^t.m.hostMask(t)))
		}
		if !ok {
			return signal.Siginfo{}, false
		}
		if hostcall.IsKick(&info) {
			continue
		}
		return signal.Siginfo(info), true
	}
}

// attend serves the requests of other threads.
func (t *Thread) attend() {
	w := t.want.Load()
	if w&wantExit != 0 {
		t.waitForEnd()
	}
	if w&wantNoNewPrivs != 0 {
		t.promiseNoNewPrivs()
	}
	if w&wantStop != 0 {
		t.parkRequested()
	}
}

// signal acts on one signal: the debugger sees it first, then the payload's disposition decides.
func (t *Thread) signal(info *signal.Siginfo) {
	if !t.showSignal(info) {
		return
	}
	t.deliver(info, false)
}

// force delivers a signal that the payload's own instruction caused. Blocked or ignored, it kills.
func (t *Thread) force(info *signal.Siginfo) {
	if !t.showSignal(info) {
		return
	}
	t.deliver(info, true)
}

// deliver carries out the disposition of info's signal. forced is a fault's signal, which nothing holds back.
func (t *Thread) deliver(info *signal.Siginfo, forced bool) {
	sig := info.Signo()
	if forced {
		t.m.actions.Force(t.sig, sig)
	}
	act, what := t.m.actions.Take(sig)
	switch what {
	case signal.Handle:
		t.handler(act, info)
	case signal.Terminate, signal.Dump:
		t.m.die(unix.Signal(sig))
	case signal.StopProcess:
		hostcall.StopBy(sig)
	}
}

// resume decides how an interrupted hypercall goes on, once: handler and saRestart are of the first handler to run.
func (t *Thread) resume(handler, saRestart bool) {
	if t.call < 0 {
		return
	}
	nr := uint64(t.call)
	t.call = -1
	r := &t.v.Run.Regs
	how := signal.Restart(int64(r.Rax), handler, saRestart)
	how.Apply(r, nr)
	t.dirty |= kvm.SyncRegs
}

// context gathers the thread's state for package signal, over the buffer for its vector state as it is.
func (t *Thread) context() *signal.Context {
	if t.ctx == nil {
		t.ctx = &signal.Context{Mem: payloadMem{}, XState: t.m.xstate(), Actions: t.m.actions, Thread: t.sig}
	}
	t.ctx.Regs, t.ctx.FP = &t.v.Run.Regs, t.xsaveRoom()
	return t.ctx
}

// handler enters the payload's handler for info.
func (t *Thread) handler(act signal.Action, info *signal.Siginfo) {
	t.resume(true, act.Flags&signal.SARestart != 0)
	t.abortRseq()
	if _, err := t.xsaveBuf(); err != nil {
		t.m.log.Error("reading vector state", "err", err)
		t.m.die(unix.SIGABRT)
		return
	}
	t.finishFrame(t.context().Deliver(act, info))
}

// finishFrame loads what Deliver or Sigreturn made.
func (t *Thread) finishFrame(o signal.Outcome) {
	t.dirty |= kvm.SyncRegs | kvm.SyncSregs
	if o.Kind == signal.Killed {
		t.m.die(unix.Signal(o.Info.Signo()))
		return
	}
	if err := t.v.SetXsave(t.ctx.FP); err != nil {
		t.m.log.Error("loading vector state", "err", err)
		t.m.die(unix.SIGABRT)
		return
	}
	if o.Kind == signal.Forced {
		t.force(&o.Info)
	}
}
