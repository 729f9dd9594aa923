package target

// Event is something that happened to a process.
type Event struct {
	Kind   EventKind
	Pid    int
	Tid    int        // the thread it happened in
	Stop   Stop       // EventStopped
	Status WaitStatus // EventExited, EventThreadExited
}

// EventKind tells events apart.
type EventKind uint8

// Kinds of events. Each is an answer to Resume.
const (
	// EventStopped: all threads are stopped; Stop says why.
	EventStopped EventKind = iota + 1
	// EventExited: the process has ended with Status and has been waited for if it was our child.
	EventExited
	// EventNoResumed: all threads that Resume let run have exited; the others are stopped.
	EventNoResumed
	// EventThreadExited: thread Tid is gone; the others are stopped. Only after ThreadEvents.
	EventThreadExited
)

// Stop says where and why a process stopped.
type Stop struct {
	Tid     int
	Reason  StopReason
	Siginfo Siginfo        // StopSignal
	Addr    uint64         // StopBreakpoint: its address. StopWatch: first byte touched
	Watch   BreakpointKind // StopWatch: which kind; StopBreakpoint: Software or Hardware
	Syscall int            // StopSyscallEntry, StopSyscallReturn
	Regs    Regs           // of the thread, at the stop
}

// StopReason tells stops apart.
type StopReason uint8

// Reasons to stop.
const (
	// StopInterrupt: Interrupt was called.
	StopInterrupt StopReason = iota + 1
	// StopStart: before the program's first instruction.
	StopStart
	// StopSignal: a signal is about to be delivered; the thread's next Action says which one is.
	StopSignal
	// StopBreakpoint: at Addr, where the thread's Rip is.
	StopBreakpoint
	StopStep
	// StopWatch: watched memory was accessed; the access is done.
	StopWatch
	StopSyscallEntry
	StopSyscallReturn
	// StopCreated: the thread is new. Only after ThreadEvents.
	StopCreated
)

// Action says how a thread goes on.
type Action struct {
	Tid    int // 0 matches every thread
	Kind   ActionKind
	Signal int // to deliver first, 0 for none. With the number of the signal it stopped for, that one, siginfo and all
	// Start and End of a Step: the thread goes on while Start <= Rip < End. Equal: one instruction.
	Start, End uint64
}

// ActionKind is continue, step or stay.
type ActionKind uint8

// Kinds of actions.
const (
	Continue ActionKind = iota
	Step
	Stay
)

// WaitStatus is how a process or thread ended, encoded as wait(2) does.
type WaitStatus uint32

// Exited gives the exit status of a process that called exit.
func (w WaitStatus) Exited() (status int, ok bool) { return int(w >> 8 & 0xff), w&0x7f == 0 }

// Signaled gives the signal that ended the process.
func (w WaitStatus) Signaled() (sig int, ok bool) { return int(w & 0x7f), w&0x7f != 0 }
