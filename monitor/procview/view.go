// Package procview turns the host's text of a file in /proc/PID, which tells of a monitor, into what it would say of the
// payload alone. It is pure text: the same functions serve a process's own files and those of its relatives. Text that is
// not of the form known here is given back as far as it is understood.
package procview

import "golang.org/x/sys/unix"

// View is what the payload's files say where the host's say something else. Addresses are the payload's, sizes are in bytes.
type View struct {
	Threads                   int
	Blocked, Ignored, Caught  uint64 // signal sets, bit sig-1; Blocked is the thread's
	Limits                    map[int]unix.Rlimit
	FDSize                    int // 0: as the host says
	Sizes                     Sizes
	Addresses                 Addresses
	Monitor                   Resident // the monitor's own part of the resident set
	Seccomp, Filters          uint64   // the thread's seccomp mode and how many filters it has
	NoNewPrivs                bool
	StartBrk, Brk, StartStack uint64
}

// Addresses are those of /proc/PID/stat (proc_pid_stat(5)).
type Addresses struct {
	StartCode, EndCode, StartData, EndData uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd     uint64
}

// Sizes are what mapped memory adds up to, as Linux counts it.
type Sizes struct {
	Total uint64 // VmSize
	Peak  uint64 // VmPeak; 0: not known
	Data  uint64 // VmData: private and writable, no stack
	Stack uint64 // VmStk: what grows down
	Exec  uint64 // executable, not writable: VmExe and VmLib
}

// Resident is memory by kind.
type Resident struct{ Anon, File, Swap uint64 }

// Range is a part of the payload's memory of which the host's maps don't tell all.
type Range struct {
	Start, End uint64
	Exec       bool
	Name       string // [heap], [vdso] …; "" as the host says
}

const pageSize = 4096

// text is the code segment's size as VmExe and statm count it.
func (a *Addresses) text() uint64 {
	if a.EndCode < a.StartCode {
		return 0
	}
	return (a.EndCode+pageSize-1)&^(pageSize-1) - a.StartCode&^(pageSize-1)
}

// sub is a-b, but not below 0: the host counts approximately.
func sub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}
