package signal

// ThreadState is the signal state of one payload thread. Only the vCPU thread that runs it may use it. The zero value
// is not ready: use NewThreadState, Fork or Clone.
type ThreadState struct {
	blocked   Set
	saved     Set // the mask to go back to, while temporary
	temporary bool
	alt       AltStack
	trap      Trap
	sel       selectors
}

// Trap is what the thread's last fault left for sigcontext: it stays until the next one (thread.trap_nr and so on).
type Trap struct {
	Number uint64 // vector
	Err    uint64
	CR2    uint64 // of the last page fault
}

// NewThreadState is a first thread's: the mask it inherits, no alternate stack.
func NewThreadState(blocked Set) *ThreadState {
	return &ThreadState{blocked: blocked &^ Unblockable, alt: noAltStack, sel: userSelectors}
}

// Blocked is the mask in force.
func (t *ThreadState) Blocked() Set { return t.blocked }

// SetBlocked replaces the mask; SIGKILL and SIGSTOP are never in it.
func (t *ThreadState) SetBlocked(s Set) { t.blocked = s &^ Unblockable }

// Trap is the last fault's.
func (t *ThreadState) Trap() Trap { return t.trap }

// SetTemporary replaces the mask for the length of a system call (rt_sigsuspend, ppoll, pselect6,
// epoll_pwait, io_pgetevents). The mask in force before comes back with RestoreMask, or from the frame of the handler
// that ends the call.
func (t *ThreadState) SetTemporary(s Set) {
	if !t.temporary {
		t.saved, t.temporary = t.blocked, true
	}
	t.SetBlocked(s)
}

// RestoreMask ends what SetTemporary began. To be called when the system call ended without a signal, and when signals
// were dealt with and no handler runs. Harmless otherwise.
func (t *ThreadState) RestoreMask() {
	if t.temporary {
		t.blocked, t.temporary = t.saved, false
	}
}

// maskToSave is the mask for a frame: what sigreturn brings back.
func (t *ThreadState) maskToSave() Set {
	if t.temporary {
		return t.saved
	}
	return t.blocked
}

// HostMask is what the host must hold back from the thread while it runs or sleeps: what the payload blocks or
// ignores. Compare Actions.Generation to know when it is stale.
func (t *ThreadState) HostMask(a *Actions) Set { return (t.blocked | a.Ignored()) &^ Unblockable }

// Fork is the state of a forked child's thread.
func (t *ThreadState) Fork() *ThreadState {
	c := *t
	c.saved, c.temporary = 0, false
	if t.temporary {
		c.blocked = t.saved
	}
	return &c
}

// Clone is the state of a new thread of the same process: it has no alternate stack (clone with CLONE_VM and without
// CLONE_VFORK, sigaltstack(2)).
func (t *ThreadState) Clone() *ThreadState {
	c := t.Fork()
	c.alt = noAltStack
	return c
}

// Snapshot is a ThreadState as plain data, to be carried through fork's and exec's new monitor.
type Snapshot struct {
	Blocked Set
	Alt     AltStack
	Trap    Trap
}

// Snapshot is what a child or a new program inherits.
func (t *ThreadState) Snapshot() Snapshot {
	c := t.Fork()
	return Snapshot{Blocked: c.blocked, Alt: c.alt, Trap: c.trap}
}

// RestoreThreadState is the inverse of Snapshot. After exec, clear Alt first (AltStack.Exec).
func RestoreThreadState(s Snapshot) *ThreadState {
	return &ThreadState{blocked: s.Blocked &^ Unblockable, alt: s.Alt, trap: s.Trap, sel: userSelectors}
}
