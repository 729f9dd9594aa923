package debug

// Report is what the server half tells the supervisor: an Event of the whole payload. When it comes, all threads are
// parked (or gone).
type Report struct {
	Event
	Regs Regs // of thread Tid, for EventStopped
}

// Events, reasons and actions that exist between the two halves of the channel only, never at the Inferior.
const (
	// EventNoResumed: all threads that Resume let run have exited; the others are parked.
	EventNoResumed EventKind = 0x40

	// StopInterrupt: Client.Interrupt was called.
	StopInterrupt StopReason = 0x40
	// StopCreated: the thread is new (Client.ThreadEvents).
	StopCreated StopReason = 0x41

	// Stay leaves a thread parked.
	Stay ActionKind = 0x40
)
