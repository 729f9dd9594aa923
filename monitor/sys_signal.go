package monitor

import (
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// signalCalls are the hypercalls about signals that the host can't serve: it never sees the payload's handlers and
// masks. Sending (kill, tgkill, rt_sigqueueinfo …) is the host's, as pids, tids and pending queues are.
var signalCalls = map[int]handler{
	unix.SYS_RT_SIGACTION:    (*Thread).rtSigaction,
	unix.SYS_RT_SIGPROCMASK:  (*Thread).rtSigprocmask,
	unix.SYS_RT_SIGRETURN:    (*Thread).rtSigreturn,
	unix.SYS_RT_SIGPENDING:   (*Thread).rtSigpending,
	unix.SYS_RT_SIGSUSPEND:   (*Thread).rtSigsuspend,
	unix.SYS_RT_SIGTIMEDWAIT: (*Thread).rtSigtimedwait,
	unix.SYS_SIGALTSTACK:     (*Thread).sigaltstack,
	unix.SYS_PAUSE:           (*Thread).pause,
	unix.SYS_RESTART_SYSCALL: (*Thread).restartSyscall,
}

// payloadMem is the payload's memory as package signal uses it.
type payloadMem struct{}

func (payloadMem) CopyIn(dst []byte, gva uint64) unix.Errno  { return usermem.CopyIn(dst, gva) }
func (payloadMem) CopyOut(gva uint64, src []byte) unix.Errno { return usermem.CopyOut(gva, src) }

func (t *Thread) rtSigaction(a *[6]uint64) uint64 {
	change, e := t.m.actions.Sigaction(payloadMem{}, int32(a[0]), a[1], a[2], a[3])
	sig := int(int32(a[0]))
	t.m.dispositionChanged(t, sig, change)
	if a[1] != 0 && e == 0 {
		act := t.m.actions.Get(sig)
		if err := hostcall.SetDisposition(sig, act.Handler == signal.SigIgn, act.Flags); err != nil {
			t.m.log.Warn("disposition on the host", "signal", sig, "err", err)
		}
		t.m.publish()
	}
	return fail(e)
}

// dispositionChanged brings the host's pending queues and the other threads' masks in line with a new disposition. What is
// pending for other threads alone is dropped by them when they look (deliver ignores it).
func (m *Machine) dispositionChanged(t *Thread, sig int, c signal.Change) {
	if c.Discard || c.Unignored && !t.sig.Blocked().Has(sig) {
		for {
			if _, ok := hostcall.Dequeue(uint64(signal.Of(sig))); !ok {
				break
			}
		}
	}
	if c.Unignored {
		m.kickOthers(t)
	}
}

// kickOthers makes every other thread look at its mask again before it enters the guest the next time.
func (m *Machine) kickOthers(t *Thread) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tid, o := range m.threads {
		if o != t {
			hostcall.Kick(tid)
		}
	}
}

func (t *Thread) rtSigprocmask(a *[6]uint64) uint64 {
	return fail(t.sig.Sigprocmask(payloadMem{}, int32(a[0]), a[1], a[2], a[3]))
}

func (t *Thread) rtSigpending(a *[6]uint64) uint64 {
	return fail(t.sig.Sigpending(payloadMem{}, signal.Set(pendingSignals()), a[0], a[1]))
}

func (t *Thread) rtSigsuspend(a *[6]uint64) uint64 {
	if e := t.sig.Sigsuspend(payloadMem{}, a[0], a[1]); e != 0 {
		return fail(e)
	}
	return t.pause(a)
}

// pause sleeps until a signal arrives that is not blocked.
func (t *Thread) pause(*[6]uint64) uint64 {
	t.Sleep(unix.SYS_PAUSE, 0, 0, 0, 0, 0, 0)
	return restartCode(signal.ERestartNoHand)
}

// rtSigtimedwait waits on the host's own queues of this thread. What it waits for must not be taken by the stub's
// handler, so it is blocked meanwhile, and an ignored signal counts here as on Linux if it was blocked when sent.
func (t *Thread) rtSigtimedwait(a *[6]uint64) uint64 {
	if a[3] != 8 {
		return fail(unix.EINVAL)
	}
	v, e := usermem.ReadUint64(a[0])
	if e != 0 {
		return fail(e)
	}
	set := uint64(signal.Set(v) &^ signal.Unblockable &^ kickSet)
	deadline, e := hypercall.Deadline(a[2])
	if e != 0 {
		return fail(e)
	}
	mem := t.scratch.Alloc(8 + 128 + 16)
	mem.PutUint64(0, set)
	host, info, timeout := mem.Host(), mem.Bytes()[8:8+128], uintptr(0)
	for {
		if deadline.Set {
			timeout = host + 8 + 128
			deadline.PutRemaining(mem, 8+128)
		}
		r := t.block.Call(t.HostMask()|set, unix.SYS_RT_SIGTIMEDWAIT, host, host+8, timeout, 8, 0, 0)
		switch {
		case int64(r) > 0:
			if a[1] != 0 {
				if e := usermem.CopyOut(a[1], info); e != 0 {
					return fail(e)
				}
			}
			return uint64(r)
		case int64(r) == -int64(unix.EINTR), isRestart(uint64(r)):
			if !t.kickedOnly() {
				return fail(unix.EINTR)
			}
		default:
			return uint64(r)
		}
	}
}

// kickedOnly tells whether the last sleep ended for a kick that asks for nothing but a look at the masks. It consumes
// the kick, and leaves a real signal or a request for settle.
func (t *Thread) kickedOnly() bool {
	if t.want.Load() != 0 {
		return false
	}
	info, ok := t.block.Signal()
	if !ok || hostcall.IsKick(&info) {
		return true
	}
	t.held, t.busy = append(t.held, signal.Siginfo(info)), true
	return false
}

func (t *Thread) sigaltstack(a *[6]uint64) uint64 {
	return fail(t.sig.Sigaltstack(payloadMem{}, a[0], a[1], t.v.Run.Regs.Rsp))
}

// rtSigreturn goes back to where a handler's frame says. It sets all registers, so it has no result.
func (t *Thread) rtSigreturn(*[6]uint64) uint64 {
	t.call = -1
	t.finishFrame(t.context().Sigreturn()) // it never looks at the old vector state
	t.busy = true
	return 0
}

// restartSyscall goes on with a call that was interrupted for something the payload must not notice.
func (t *Thread) restartSyscall(*[6]uint64) uint64 {
	fn := t.restart
	t.restart = nil
	if fn == nil {
		return fail(unix.EINTR)
	}
	return fn(t)
}
