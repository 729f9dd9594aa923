package target

// Process is one payload process. Its methods may be called from any goroutine.
type Process interface {
	Memory

	// Info gives the constant facts.
	Info() Info

	// Threads lists the threads' tids, the first one created first.
	Threads() ([]int, error)

	// Thread describes one thread; ErrNoThread.
	Thread(tid int) (Thread, error)

	// Registers gives a stopped thread's general registers; ErrRunning, ErrNoThread.
	Registers(tid int) (Regs, error)

	// Extended gives a stopped thread's XSAVE area (standard format, laid out as Info().Xsave says). The caller must
	// not modify it.
	Extended(tid int) ([]byte, error)

	// Siginfo gives the kernel's siginfo_t of the signal that a stopped thread stopped for.
	Siginfo(tid int) (Siginfo, error)

	// Maps lists the mappings in ascending order of address.
	Maps() ([]Mapping, error)

	// Auxv is the auxiliary vector: pairs of little-endian words, AT_NULL included.
	Auxv() ([]byte, error)

	// Stopped gives the stop that was last reported, and true, if the process is stopped; else false.
	Stopped() (Stop, bool)
}

// Memory is a payload's memory, by its own addresses.
type Memory interface {
	// ReadMemory copies memory at addr, whatever its protection and without the INT3s of inserted breakpoints. It
	// returns the number of bytes before the first hole, with a *MemoryError if it met one.
	ReadMemory(addr uint64, p []byte) (int, error)

	// WriteMemory is its counterpart. It writes through protections, leaves file mappings' files alone unless they are
	// shared and writable, and keeps breakpoints armed.
	WriteMemory(addr uint64, p []byte) (int, error)
}

// Controller is a Process that runs. Its mode is all-stop: at any time all threads are stopped or the process runs. Every
// successful Resume is answered by exactly one event.
type Controller interface {
	Process

	// Events delivers what happens. No event is dropped while the reader is slow. It is closed after EventExited.
	Events() <-chan Event

	// Resume lets the stopped process go on. For each thread the first action that matches it counts; a thread that
	// none matches stays stopped. ErrRunning if it runs already.
	Resume(actions []Action) error

	// Interrupt stops a running process: StopInterrupt, unless something else stops it at that moment; then the
	// interrupt is reported after the next Resume. Without effect on a stopped process.
	Interrupt() error

	// Halt stops a running process, too, but if something else stops it just then, that is all.
	Halt() error

	// Detach ends debugging for now: breakpoints are removed, no signal stops, and all threads run. Signals that threads
	// stopped for are delivered if they are in deliver. The process can be taken up again by Halt.
	Detach(deliver SignalSet) error

	// Disconnect is what happens when a front end vanishes: breakpoints are removed and no signal stops, but a stopped
	// process stays stopped and a running one runs on, until Resume or Halt.
	Disconnect() error

	// Kill ends the process as by SIGKILL. EventExited follows.
	Kill() error

	SetRegisters(tid int, r *Regs) error
	SetExtended(tid int, area []byte) error
	SetSiginfo(tid int, info *Siginfo) error

	// InsertBreakpoint arms a breakpoint. Inserting what is there already is no error, and neither is removing what is
	// not. ErrUnsupported for kinds that the back end has not got, a *MemoryError where nothing is mapped.
	InsertBreakpoint(b Breakpoint) error
	RemoveBreakpoint(b Breakpoint) error

	// PassSignals sets the signals that are delivered to the process without stopping it. Initially all.
	PassSignals(set SignalSet) error

	// CatchSyscalls stops at system calls' entry and return: at every one if all, else at those in nrs.
	CatchSyscalls(all bool, nrs []int) error

	// ThreadEvents makes the creation and exit of threads stop the process: StopCreated, EventThreadExited.
	ThreadEvents(on bool) error
}

// Info is what never changes while a process runs its program.
type Info struct {
	Pid   int
	Exe   string   // absolute path of the program
	Args  []string // argv
	XCR0  uint64   // extended state that threads have
	Xsave XsaveLayout
}

// Thread is a thread of a payload.
type Thread struct {
	Tid  int
	Name string // the kernel's comm, at most 15 bytes
	Core int    // host CPU it last ran on; -1 if unknown
}

// Mapping is one range of payload memory.
type Mapping struct {
	Start, End   uint64
	Prot         Prot
	Shared       bool
	Offset       uint64 // in the file
	Major, Minor uint32 // of the file's device
	Inode        uint64
	Name         string // path, "[stack]", "[heap]", "[vdso]", …; empty for anonymous memory
}

// Prot is a set of access rights.
type Prot uint8

// The rights have mmap's numbers.
const (
	Read Prot = 1 << iota
	Write
	Exec
)

// Siginfo is the kernel's siginfo_t; its first word is the signal number.
type Siginfo [128]byte

// Signal is the signal's number.
func (s *Siginfo) Signal() int {
	return int(int32(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24))
}

// SignalSet has bit n-1 set for signal n.
type SignalSet uint64

// AllSignals is every signal from 1 to 64.
const AllSignals SignalSet = ^SignalSet(0)

// Has tells if signal sig is in the set.
func (s SignalSet) Has(sig int) bool { return sig >= 1 && sig <= 64 && s>>(sig-1)&1 != 0 }

// BreakpointKind says what arms a breakpoint. The numbers are those of RSP's Z packet.
type BreakpointKind uint8

// Kinds of breakpoints.
const (
	Software BreakpointKind = iota // an instruction about to be executed, by INT3
	Hardware                       // the same without changing the code
	WatchWrite
	WatchRead
	WatchAccess
)

// Breakpoint is a place that stops the process.
type Breakpoint struct {
	Kind BreakpointKind
	Addr uint64
	Size uint64 // bytes watched; 1 for Software and Hardware
}
