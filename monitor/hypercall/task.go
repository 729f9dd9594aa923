package hypercall

import "golang.org/x/sys/unix"

// Task is the payload thread that makes a hypercall, and the vCPU thread that
// serves it: all methods are called there.
type Task interface {
	// Sleep makes a host call that may sleep (hostcall.Block.Call) with
	// HostMask blocked. It returns the kernel's result, or if a signal or
	// kick ended it -EINTR, -ERESTARTSYS or, when the call never began,
	// -ERESTARTNOINTR.
	Sleep(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr

	// SleepMasked is Sleep for calls that carry a signal mask of their own
	// (ppoll and its like). mask is the payload's. The kernel swaps masks for
	// the time of the call, by an argument that points to
	// KernelMask(t, mask); a signal taken meanwhile is delivered
	// although the thread's own mask may block it.
	SleepMasked(mask uint64, nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr

	// HostMask is what the host thread blocks while it sleeps, and
	// IgnoredMask the part of it that the payload ignores.
	HostMask() uint64
	IgnoredMask() uint64

	// Scratch is the thread's own memory for translated structures.
	Scratch() *Scratch

	// SetRestart gives the continuation of a call that returns
	// -ERESTART_RESTARTBLOCK: it runs instead of the call if no handler ran,
	// and may return the same again.
	SetRestart(fn func(Task) uint64)

	// FDLimit separates the payload's descriptors (below) from the
	// monitor's (at or above).
	FDLimit() int

	Pid() int
	Tid() int
	Process() Process
}

// Process is the payload process. Its methods may be called from any vCPU
// thread.
type Process interface {
	// Exe is the payload's executable as an absolute path, and ExeFD a
	// descriptor of it (O_PATH or better, in the monitor's range; -1 if
	// there is none).
	Exe() string
	ExeFD() int

	// SelfFD is a descriptor of the monitor's own binary, in the monitor's range;
	// -1 if there is none.
	SelfFD() int

	// HasThread tells whether tid is a live thread of the payload; Threads
	// returns how many there are.
	HasThread(tid int) bool
	Threads() int

	// Rlimit is the payload's view of a limit that the monitor keeps:
	// RLIMIT_NOFILE, RLIMIT_STACK and others that would bind the monitor.
	// ok is false for limits that are the host's own. SetRlimit is
	// told of a change that setrlimit(2)'s own rules allow.
	Rlimit(resource int) (l unix.Rlimit, ok bool)
	SetRlimit(resource int, l unix.Rlimit) unix.Errno

	// Uname changes the host's fields to what the payload sees.
	Uname(*unix.Utsname)

	// ProcFile is the content of a file in /proc/PID as the payload sees it,
	// for the names that package sys asks for. ok is false if it is as on the
	// host.
	ProcFile(t Task, f *ProcFile) (text []byte, ok bool)

	// Relative is another payload process of the same tree, by its pid here;
	// nil if pid is none. start reads when that process began (field 22 of its
	// stat).
	Relative(pid int, start func() uint64) Relative

	// MapAnonymous maps zeroed memory that the payload may read, wherever there is
	// room for size bytes, and returns its payload address or -errno. Unmap takes
	// it away again.
	MapAnonymous(size uint64) uint64
	Unmap(gva, size uint64)

	// Madvise is madvise(2) on the payload's memory.
	Madvise(gva, size, behavior uint64) uint64

	// OwnFD moves a descriptor into the monitor's range.
	OwnFD(fd int) (int, error)
	// KeepFD is OwnFD for a descriptor that forked children and executed programs inherit.
	KeepFD(fd int) (int, error)

	// Notef writes a line to the monitor's log, the first time only for each
	// format.
	Notef(format string, args ...any)
}

// ProcFile is a file of a process or thread in /proc that a payload opens.
type ProcFile struct {
	Name     string   // maps, stat …
	Own      bool     // it is the payload's own process
	Pid, Tid int      // Tid: of the thread in …/task/TID, else Pid
	Relative Relative // if not Own
	// Host is the host's text of the file; Read that of another file of the
	// same thread, or nil; Open opens one for reading. MaxFD is the highest
	// descriptor that the payload has open, -1 if that can't be known.
	Host  func() []byte
	Read  func(name string) []byte
	Open  func(name string) (fd int, err error)
	MaxFD func() int
}

// Relative is what a process of the tree tells the others about itself.
type Relative interface {
	ExeFD() int // descriptor of its executable, among its monitor's; -1: none
	FDLimit() int
	HasThread(tid int) bool
	Rlimit(resource int) (l unix.Rlimit, ok bool) // as Process's
}

// Handler serves one call: a holds the payload's six argument registers, which
// it may change.
type Handler func(t Task, a *[6]uint64) uint64

// Results beyond plain errnos, for the run loop only.
const (
	ERESTARTSYS           unix.Errno = 512
	ERESTARTNOINTR        unix.Errno = 513
	ERESTARTNOHAND        unix.Errno = 514
	ERESTART_RESTARTBLOCK unix.Errno = 516 //nolint:revive // the kernel's name
)

// Err returns e as a result: -errno, or 0 for none.
func Err(e unix.Errno) uint64 { return -uint64(e) }

// Errno returns the errno in a result, or 0.
func Errno(r uint64) unix.Errno {
	if r > ^uint64(4095) {
		return unix.Errno(-r)
	}
	return 0
}

// KernelMask is a payload's signal mask as the host kernel may have it: with
// what the payload ignores, and never blocking the monitor's kick.
func KernelMask(t Task, mask uint64) uint64 {
	const kick = 1 << (unix.SIGSTKFLT - 1)
	return (mask | t.IgnoredMask()) &^ kick
}
