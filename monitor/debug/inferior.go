package debug

// Inferior is what the server half asks of the monitor.
//
// All methods may be called from any goroutine, at any time, for a running payload too, unless they say otherwise; none
// may block on the payload. A method given a tid that is not a payload thread returns ErrNoThread, one that needs a
// parked thread returns ErrRunning. Errors that are a unix.Errno keep their number across the channel.
//
// A thread is parked or running. It parks itself: it leaves the guest (or its blocked host call), makes its registers
// readable, calls the sink with EventStopped, and then waits for Resume. A Resume may come before it waits, even from inside the
// sink; it must not be lost. The sink is called in the vCPU's own thread, without any lock that a method of Inferior
// takes; it may call every method.
type Inferior interface {
	// Hello gives the constant facts. It is called once, before everything else.
	Hello() Hello

	// Attach makes sink the receiver of all events from now on, and returns the threads as they were at that moment: a
	// change is either in the list or an event, never both or neither. Attach(nil) ends it: nothing stops any more.
	Attach(sink func(Event)) []Thread

	// Threads lists the payload's threads (not the monitor's), the first one created first.
	Threads() []Thread

	// Stop asks a running thread to park with StopRequested, or all of them with AllThreads. It returns at once. A
	// thread that runs into something else first parks with that reason instead, and the request is then satisfied.
	// Parked threads are left alone. With AllThreads, threads created from now until the next Resume park before their
	// first instruction (EventCreated, then EventStopped with StopRequested).
	Stop(tid int) error

	// Resume lets parked threads go on, all actions at once. It checks before it acts: on error no thread has moved.
	// A thread resumed at an inserted breakpoint hits it at once.
	Resume(actions []Action) error

	// Regs and SetRegs access the registers of a parked thread as ptrace shows them. A thread that was parked inside
	// an interrupted system call shows Rip after the SYSCALL, OrigRax = its number and Rax = -ERESTARTSYS,
	// -ERESTARTNOINTR, -ERESTARTNOHAND or -ERESTART_RESTARTBLOCK; on Resume the restart is decided from what the
	// registers then say, so OrigRax = -1 means no restart. Elsewhere OrigRax is -1. Eflags never shows
	// the TF that stepping sets. SetRegs refuses a non-canonical FsBase or GsBase and foreign selectors with EIO.
	Regs(tid int) (Regs, error)
	SetRegs(tid int, r *Regs) error

	// Xsave and SetXsave access a parked thread's extended state: the XSAVE area in standard (non-compacted) format,
	// laid out as Hello.Xsave says. SetXsave refuses bits outside XCR0 and reserved MXCSR bits with EINVAL.
	Xsave(tid int) ([]byte, error)
	SetXsave(tid int, area []byte) error

	// Siginfo and SetSiginfo access the siginfo of the signal that a parked thread stopped for (StopSignal), which
	// Resume with that same signal delivers; for other stops it is what ptrace would show (SIGTRAP).
	Siginfo(tid int) (Siginfo, error)
	SetSiginfo(tid int, info *Siginfo) error

	// ReadMemory copies payload memory at addr, whatever its protection, without the INT3s of inserted breakpoints. It
	// returns the bytes before the first hole, with EFAULT if it met one. Used when the supervisor may not read directly.
	ReadMemory(addr uint64, p []byte) (int, error)

	// WriteMemory is ReadMemory's counterpart; bytes under an inserted breakpoint take effect when it is removed.
	WriteMemory(addr uint64, p []byte) (int, error)

	// VMAs lists the payload's mappings as /proc/PID/maps would, in ascending order, without the landing pad.
	VMAs() []VMA

	// Auxv is the auxiliary vector that the payload was started with: pairs of little-endian words, AT_NULL included.
	Auxv() []byte

	// InsertBreakpoint arms a breakpoint and returns the code bytes it hides (one byte for Software). EEXIST if there is
	// one of that kind at addr already, EFAULT if nothing is mapped there, ErrUnsupported for kinds the monitor has not
	// got. RemoveBreakpoint undoes it; ENOENT if there is none. A mapping that goes away takes its breakpoints along.
	InsertBreakpoint(b Breakpoint) (hidden []byte, err error)
	RemoveBreakpoint(b Breakpoint) error

	// PassSignals sets the signals (bit sig-1) that are delivered without stopping. Initially all.
	PassSignals(set uint64) error

	// CatchSyscalls makes threads stop with StopSyscallEntry and StopSyscallReturn: for every call if all, else for nrs.
	CatchSyscalls(all bool, nrs []int) error

	// Kill ends the payload as by SIGKILL, parked or not. EventExited follows, or just the end of the process.
	Kill() error
}

// AllThreads as a tid means every thread.
const AllThreads = 0

// Hello is what never changes while the payload runs its program.
type Hello struct {
	Version uint32 // of the channel: Version
	Pid     int    // the payload's and the monitor's
	Exe     string // absolute host path of the program (with PT_INTERP: of the program, not the interpreter)
	Args    []string
	Window  uint64 // host address of payload address 0 in process Pid
	Size    uint64 // payload addresses are below it
	XCR0    uint64
	Xsave   XsaveLayout
	Waits   bool // the payload stands at its start, or will in a moment, and waits for a debugger: a report says so
}

// XsaveLayout locates the components of the standard-format XSAVE area (CPUID leaf 0xD).
type XsaveLayout struct {
	Size       uint32 // of the whole area
	Components []XsaveComponent
}

// XsaveComponent is one state component other than x87 and SSE, whose places are architectural.
type XsaveComponent struct {
	Bit          uint8 // in XCR0
	Offset, Size uint32
}

// Regs are the general registers, in the order and meaning of Linux's user_regs_struct (sys/user.h).
type Regs struct {
	R15, R14, R13, R12, Rbp, Rbx, R11, R10, R9, R8, Rax, Rcx, Rdx, Rsi, Rdi, OrigRax,
	Rip, Cs, Eflags, Rsp, Ss, FsBase, GsBase, Ds, Es, Fs, Gs uint64
}

// Siginfo is the kernel's siginfo_t; its first word is the signal number.
type Siginfo [128]byte

// Thread is a payload thread.
type Thread struct {
	Tid    int
	Parked bool
	Stop   Stop // why it is parked
}

// VMA is one mapping of the payload.
type VMA struct {
	Start, End uint64
	Prot       uint8 // PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4
	Shared     bool
	Offset     uint64 // in the file
	Major      uint32
	Minor      uint32
	Inode      uint64
	Name       string // path, "[stack]", "[heap]", "[vdso]", …; empty for anonymous
}

// BreakpointKind says what arms a breakpoint. The numbers are those of RSP's Z packet.
type BreakpointKind uint8

const (
	Software   BreakpointKind = iota // INT3
	Hardware                         // execution, by debug register or as the monitor likes
	WatchWrite                       // data written
	WatchRead
	WatchAccess
)

// Breakpoint is a place that stops a thread.
type Breakpoint struct {
	Kind BreakpointKind
	Addr uint64
	Size uint64 // bytes watched; 1 for Software and Hardware
}
