package signal

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Handler values that are no addresses.
const (
	SigDfl = 0
	SigIgn = 1
)

// Flags of an Action (sigaction(2)).
const (
	SANoCldStop     = 0x1
	SANoCldWait     = 0x2
	SASigInfo       = 0x4
	SAExposeTagBits = 0x800
	SARestorer      = 0x0400_0000
	SAOnStack       = 0x0800_0000
	SARestart       = 0x1000_0000
	SANoDefer       = 0x4000_0000
	SAResetHand     = 0x8000_0000
	saKnown         = SANoCldStop | SANoCldWait | SASigInfo | SAExposeTagBits | SARestorer | SAOnStack | SARestart | SANoDefer | SAResetHand
	sigactionSize   = 32
	sigsetSize      = 8
)

// Action is a signal's disposition: the kernel's struct sigaction, in its layout.
type Action struct {
	Handler  uint64 // SigDfl, SigIgn or a payload address
	Flags    uint64 // SA*
	Restorer uint64
	Mask     Set // blocked while the handler runs, besides the signal itself
}

// Table is a process's dispositions; signal sig is at index sig-1. It is plain data: fork and exec carry it as is.
type Table [Max]Action

// Actions is the dispositions of a payload process, shared by its threads. All methods may be called from any thread.
type Actions struct {
	mu    sync.Mutex
	table Table

	ignored    atomic.Uint64
	generation atomic.Uint64
}

// NewActions starts from a table: the zero Table for all defaults, or what another Actions' Table gave. Entries that
// rt_sigaction would refuse (SIGKILL, SIGSTOP) are taken as default.
func NewActions(table Table) *Actions {
	a := &Actions{table: table}
	for _, sig := range Unblockable.Signals() {
		a.table[sig-1] = Action{}
	}
	a.publish()
	return a
}

// Change says what a new disposition means for signals that are pending at the host. Under Linux they would not be:
// an ignored signal is dropped when it is sent, unless its target has it blocked.
type Change struct {
	Discard   bool // the signal is ignored now: drop pending instances of every thread and the process, blocked or not
	Unignored bool // it was ignored till now: drop pending instances, except where the payload's own mask blocks it
}

// Get is the disposition of a valid signal.
func (a *Actions) Get(sig int) Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.table[sig-1]
}

// Set installs a disposition with rt_sigaction's rules (unknown flags are cleared, as is SA_UNSUPPORTED; the mask
// loses SIGKILL and SIGSTOP) and returns the one it replaces. EINVAL: no such signal, or SIGKILL or SIGSTOP.
func (a *Actions) Set(sig int, act Action) (old Action, ch Change, errno unix.Errno) {
	if !Valid(sig) || Unblockable.Has(sig) {
		return Action{}, Change{}, unix.EINVAL
	}
	act.Flags &= saKnown
	act.Mask &^= Unblockable
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.Ignored().Has(sig)
	old = a.table[sig-1]
	a.table[sig-1] = act
	a.publish()
	is := a.Ignored().Has(sig)
	return old, Change{Discard: is, Unignored: was && !is}, 0
}

// Table is a copy of all dispositions.
func (a *Actions) Table() Table {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.table
}

// Exec is the table after execve: ignored signals stay ignored, all else is default.
func (t Table) Exec() Table {
	for i := range t {
		if t[i].Handler == SigIgn {
			t[i] = Action{Handler: SigIgn}
		} else {
			t[i] = Action{}
		}
	}
	return t
}

// Ignored are the signals that do nothing when they arrive: SIG_IGN, or SIG_DFL where that means so.
func (a *Actions) Ignored() Set { return Set(a.ignored.Load()) }

// Generation changes whenever Ignored does; who depends on Ignored compares generations. A reader that takes
// Generation before Ignored never misses a change.
func (a *Actions) Generation() uint64 { return a.generation.Load() }

// publish recomputes what is read without the lock. The caller holds it.
func (a *Actions) publish() {
	var s Set
	for i, act := range a.table {
		if act.Handler == SigIgn || act.Handler == SigDfl && ignoredByDefault.Has(i+1) {
			s = s.With(i + 1)
		}
	}
	if Set(a.ignored.Swap(uint64(s))) != s {
		a.generation.Add(1)
	}
}

// Disposition is what is to be done with a signal that has arrived.
type Disposition uint8

// Dispositions; Terminate, Dump and StopProcess are for the monitor to do to itself.
const (
	Ignore      Disposition = iota
	Handle                  // run the payload's handler: Context.Deliver
	Terminate               // the process dies of the signal
	Dump                    // the same, with a core dump
	StopProcess             // the process stops until SIGCONT
)

var dispositions = [...]Disposition{Term: Terminate, Core: Dump, Ign: Ignore, Stop: StopProcess, Cont: Ignore}

// Take decides what a signal that was just dequeued does, and does the action's side of it (get_signal): SA_RESETHAND
// makes the handler default. The action is meaningful with Handle only.
func (a *Actions) Take(sig int) (Action, Disposition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := &a.table[sig-1]
	switch act := *k; act.Handler {
	case SigIgn:
		return act, Ignore
	case SigDfl:
		return act, dispositions[DefaultOf(sig)]
	default:
		if act.Flags&SAResetHand != 0 {
			k.Handler = SigDfl
			a.publish()
		}
		return act, Handle
	}
}

// Force prepares a signal that must not be missed, a fault's (force_sig): where it is ignored, or the thread blocks
// it, its disposition becomes the default and it is unblocked. Take it next.
func (a *Actions) Force(t *ThreadState, sig int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := &a.table[sig-1]
	if blocked := t.blocked.Has(sig); blocked || k.Handler == SigIgn {
		k.Handler = SigDfl
		t.blocked = t.blocked.Without(sig)
		a.publish()
	}
}
