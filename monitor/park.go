package monitor

import (
	"sync"
	"sync/atomic"

	"kmdev/monitor/debug"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/signal"
)

// debugger is the machine's side of a debug session.
type debugger struct {
	attached atomic.Bool   // somebody wants events: signals are shown, ignored ones too
	catching atomic.Bool   // catch says something
	pass     atomic.Uint64 // signals delivered without a stop

	mu      sync.Mutex
	sink    func(debug.Event)
	holdNew bool // new threads park at once
	catch   catchSet
	breaks  breakTable
	removed map[uint64]bool // where breakpoints have ever been taken out: a thread may still come from their INT3
}

// parking is where a thread waits for its debugger. parked and stop are under mu; wake carries the one Resume.
type parking struct {
	mu     sync.Mutex
	parked bool
	stop   debug.Stop
	wake   chan debug.Action
}

func (p *parking) init() { p.wake = make(chan debug.Action, 1) }

// state tells whether the thread is parked, and why.
func (p *parking) state() (bool, debug.Stop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parked, p.stop
}

// emit gives an event to the debugger, if there is one. Without any lock of the machine's.
func (m *Machine) emit(e debug.Event) bool {
	m.debug.mu.Lock()
	sink := m.debug.sink
	m.debug.mu.Unlock()
	if sink == nil {
		return false
	}
	sink(e)
	return true
}

// halt parks the thread and returns what its debugger wants of it. Without a debugger it returns Continue at once, except for
// the stop at the start, which waits for one. On the thread itself, with registers that are the payload's.
func (t *Thread) halt(stop debug.Stop) debug.Action {
	t.stepping = false
	// The thread is in the list that Attach returns or sends an event, not both and not neither: it parks under the lock
	// that the sink is changed under.
	d := &t.m.debug
	d.mu.Lock()
	sink := d.sink
	t.park.mu.Lock()
	t.park.parked, t.park.stop = true, stop
	t.want.And(^uint32(wantStop)) // the request, if there is one, is satisfied
	t.park.mu.Unlock()
	d.mu.Unlock()
	switch {
	case sink != nil:
		sink(debug.Event{Kind: debug.EventStopped, Tid: t.tid, Stop: stop})
	case stop.Reason != debug.StopStart:
		t.m.debugResume(t, debug.Action{Tid: t.tid})
	}
	act := <-t.park.wake
	t.dirty |= kvm.SyncRegs | kvm.SyncSregs
	if act.Kind == debug.Step {
		t.stepping, t.stepFrom, t.stepTo = true, act.Start, act.End
		t.payloadTF = t.v.Run.Regs.Rflags&flagTF != 0
	}
	if f, bad := signal.BadEntry(&t.v.Run.Regs); bad {
		t.raise(f)
	}
	return act
}

// debugResume wakes a parked thread; false if it was not parked.
func (m *Machine) debugResume(t *Thread, act debug.Action) bool {
	t.park.mu.Lock()
	defer t.park.mu.Unlock()
	if !t.park.parked {
		return false
	}
	t.park.parked = false
	t.park.wake <- act
	return true
}

// haltFor parks for anything but a signal: a signal that the debugger gives is delivered as kill would send it.
func (t *Thread) haltFor(stop debug.Stop) {
	act := t.halt(stop)
	if act.Signal != 0 {
		info := signal.UserInfo(act.Signal, signal.SIUser, t.m.pid, 0)
		t.inject(&info)
	}
}

// inject delivers a signal of the debugger's. One that the thread blocks is queued, as ptrace does.
func (t *Thread) inject(info *signal.Siginfo) {
	if t.sig.Blocked().Has(info.Signo()) {
		raw := [128]byte(*info)
		hostcall.Queue(t.tid, info.Signo(), &raw)
		return
	}
	t.deliver(info, false)
}

func (t *Thread) parkRequested() { t.haltFor(debug.Stop{Reason: debug.StopRequested}) }

// showSignal lets the debugger see a signal before it is delivered; false if it took it away. info becomes what the
// debugger made of it.
func (t *Thread) showSignal(info *signal.Siginfo) bool {
	d := &t.m.debug
	if !d.attached.Load() || signal.Set(d.pass.Load()).Has(info.Signo()) {
		return true
	}
	act := t.halt(debug.Stop{Reason: debug.StopSignal, Siginfo: debug.Siginfo(*info)})
	switch act.Signal {
	case 0:
		return false
	case info.Signo():
		_, stop := t.park.state()
		*info = signal.Siginfo(stop.Siginfo)
	default:
		*info = signal.UserInfo(act.Signal, signal.SIUser, t.m.pid, 0)
	}
	return true
}

// stepped handles #DB: the end of a single step of the debugger's, or false for the payload's own TF.
func (t *Thread) stepped(f *signal.Fault) bool {
	if !t.stepping {
		if t.frame.RFLAGS&flagTF != 0 {
			f.DR6 = 1 << 14 // BS; without TF it was INT1, and debug registers do not fire here
		}
		return false
	}
	t.stepEnded()
	return true
}

// stepEnded parks after a step, unless a range says to go on.
func (t *Thread) stepEnded() {
	if rip := t.v.Run.Regs.Rip; t.stepFrom <= rip && rip < t.stepTo {
		return
	}
	t.haltFor(debug.Stop{Reason: debug.StopStep})
}

// breakpointHit handles #BP: an inserted breakpoint, or false for an INT3 of the payload's own.
func (t *Thread) breakpointHit() bool {
	r := &t.v.Run.Regs
	at := r.Rip - 1
	switch t.m.debug.at(t.m.as, at) {
	case breakNone:
		return false
	case breakGone:
		r.Rip = at
		t.dirty |= kvm.SyncRegs
		return true
	}
	r.Rip = at
	t.dirty |= kvm.SyncRegs
	t.haltFor(debug.Stop{Reason: debug.StopBreakpoint, Addr: at})
	return true
}

// catchSet are the hypercalls to stop at.
type catchSet struct {
	all bool
	nrs map[int]bool
}

func (d *debugger) catches(nr uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.catch.all || d.catch.nrs[int(nr)]
}

// enosys is what RAX holds at a system call's entry under ptrace: -ENOSYS.
const enosys = ^uint64(38) + 1

// catchEntry stops before the hypercall is served. The debugger may change its number and arguments.
func (t *Thread) catchEntry(nr uint64) uint64 {
	if !t.m.debug.catches(nr) {
		return nr
	}
	r := &t.v.Run.Regs
	r.Rax = enosys
	t.haltFor(debug.Stop{Reason: debug.StopSyscallEntry, Syscall: int(nr)})
	t.args = [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
	return uint64(t.call)
}

// afterCallDebug does what a debugger wants after hypercall nr was served: the stop at its return, the end of a step over it.
func (t *Thread) afterCallDebug(nr uint64) {
	if t.m.debug.catching.Load() && t.m.debug.catches(nr) {
		t.haltFor(debug.Stop{Reason: debug.StopSyscallReturn, Syscall: int(nr)})
		return
	}
	if t.stepping && !t.busy {
		t.stepEnded()
	}
}

// threadCreated and threadGone tell the debugger. threadCreated runs on the child, before the parent's clone returns.
func (m *Machine) threadCreated(_, child *Thread) {
	m.debug.mu.Lock()
	hold := m.debug.holdNew
	m.debug.mu.Unlock()
	if hold {
		child.want.Or(wantStop)
	}
	m.emit(debug.Event{Kind: debug.EventCreated, Tid: child.tid})
}

func (m *Machine) threadGone(t *Thread, status int) {
	m.emit(debug.Event{Kind: debug.EventThreadExited, Tid: t.tid, Status: uint32(status)})
}

// reportExit tells the debugger that the process ends. t is the thread that ends it, nil if a signal does.
func (m *Machine) reportExit(t *Thread, status int) {
	if !m.debug.attached.Load() {
		return
	}
	tid := m.pid
	if t != nil {
		tid = t.tid
	}
	m.mu.Lock()
	threads := append([]*Thread(nil), m.order...)
	m.mu.Unlock()
	for _, o := range threads {
		if o.tid != tid {
			m.emit(debug.Event{Kind: debug.EventThreadExited, Tid: o.tid, Status: uint32(status)})
		}
	}
	m.emit(debug.Event{Kind: debug.EventExited, Tid: tid, Status: uint32(status)})
}

// requestStop asks t to park, if it is not parked.
func (t *Thread) requestStop() {
	t.park.mu.Lock()
	defer t.park.mu.Unlock()
	if !t.park.parked {
		t.want.Or(wantStop)
		hostcall.Kick(t.tid)
	}
}
