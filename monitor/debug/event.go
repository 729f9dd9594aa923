package debug

// Event is something that happened to the payload. Tid is the thread it happened in.
type Event struct {
	Kind   EventKind
	Tid    int
	Stop   Stop   // EventStopped
	Status uint32 // EventExited, EventThreadExited: as wait(2) encodes it: code<<8, or signal, 0x80 with a core
}

// EventKind tells events apart.
type EventKind uint8

const (
	// EventStopped: thread Tid is parked. It comes exactly once per parking.
	EventStopped EventKind = iota + 1
	// EventCreated: thread Tid exists and runs. It comes before the creating thread's next event and before any of Tid's.
	EventCreated
	// EventThreadExited: thread Tid is gone, and is no longer in Threads. It also comes for threads that exec or exit_group ends.
	EventThreadExited
	// EventExited: the payload is about to end with Status. Nothing follows but the end of the process.
	EventExited
)

// Stop says why a thread is parked.
type Stop struct {
	Reason  StopReason
	Siginfo Siginfo        // StopSignal: the signal about to be delivered
	Addr    uint64         // StopBreakpoint: where it was set; StopWatch: first byte touched
	Watch   BreakpointKind // StopWatch: which kind; StopBreakpoint: Software or Hardware
	Syscall int            // StopSyscallEntry, StopSyscallReturn: its number
}

// StopReason tells stops apart.
type StopReason uint8

const (
	// StopRequested: Stop was called.
	StopRequested StopReason = iota + 1
	// StopStart: before the program's first instruction, if the monitor was asked to wait there for a debugger (run -g).
	StopStart
	// StopSignal: a signal that PassSignals does not let by is about to be delivered; Resume decides. Faults of the
	// payload and its own INT3 (Rip behind it, as Linux leaves it) are signals.
	StopSignal
	// StopBreakpoint: an inserted Software or Hardware breakpoint at Addr; Rip = Addr.
	StopBreakpoint
	// StopStep: a Step is done (or, with a range, left its range).
	StopStep
	// StopWatch: an inserted watchpoint was triggered; the access is done.
	StopWatch
	StopSyscallEntry
	StopSyscallReturn
)

// Action resumes one parked thread.
type Action struct {
	Tid    int
	Kind   ActionKind
	Signal int // to deliver first; 0 for none. With the stop's own signal its siginfo goes along
	// Start and End of a Step: it goes on while Start <= Rip < End. Equal: one instruction. A stop request, a signal, a
	// breakpoint ends it early (signals that PassSignals lets by are delivered, and the step ends in the handler's first instruction).
	Start, End uint64
}

// ActionKind is continue or step.
type ActionKind uint8

const (
	Continue ActionKind = iota
	Step
)
