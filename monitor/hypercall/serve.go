package hypercall

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Serve says what serves a call and how it may sleep.
type Serve uint32

// What serves a call.
const (
	Pass      Serve = 1 + iota // translate pointers, call the host
	Handle                     // a function registered with Add
	Refuse                     // give the row's errno
	serveMask = 0xf
)

// How a passed call runs. One without Sleeps never sleeps and runs with every
// signal blocked. With it, it runs in the interruptible stub, whose result
// says whether Linux would restart it; a kick alone never shows: the call goes
// on.
const (
	Sleeps   Serve = 1 << (4 + iota)
	final          // with Sleeps: EINTR stands, the call has had its effect (close)
	transfer       // with Sleeps: a read or write, which SetTransfer's function sees first

	SleepsFinal = Sleeps | final
	Transfers   = Sleeps | transfer
)

// The errno of a refused call.
const (
	errnoShift       = 16
	eperm      Serve = Serve(unix.EPERM) << errnoShift
	eacces     Serve = Serve(unix.EACCES) << errnoShift
	einval     Serve = Serve(unix.EINVAL) << errnoShift
	enospc     Serve = Serve(unix.ENOSPC) << errnoShift
	enosys     Serve = Serve(unix.ENOSYS) << errnoShift
	eopnotsupp Serve = Serve(unix.EOPNOTSUPP) << errnoShift
	servedBits
)

// How returns Pass, Handle or Refuse.
func (s Serve) How() Serve { return s & serveMask }

// Sleeping tells whether the call may sleep.
func (s Serve) Sleeping() bool { return s&Sleeps != 0 }

// NamesFile tells whether an argument is a path.
func (r *Row) NamesFile() bool {
	return slices.ContainsFunc(r.Args, func(a Arg) bool { return a.Type.Kind() == Path })
}

// Errno returns the errno of a refused call.
func (s Serve) Errno() unix.Errno { return unix.Errno(s >> errnoShift) }

func (s Serve) String() string {
	switch s.How() {
	case Pass:
		return "passed"
	case Handle:
		return "served"
	case Refuse:
		return "refused"
	}
	return "unknown"
}

// Group sorts the calls for people: documentation and strace's classes.
type Group uint8

// Groups.
const (
	GroupFile Group = iota
	GroupDir
	GroupMount
	GroupNet
	GroupIOMux
	GroupMemory
	GroupThread
	GroupProcess
	GroupSignal
	GroupTime
	GroupIPC
	GroupSched
	GroupLimits
	GroupSecurity
	GroupSystem
	GroupObsolete
)

var groupNames = [...]string{
	"file", "dir", "mount", "net", "io-mux", "memory", "thread", "process", "signal",
	"time", "ipc", "sched", "limits", "security", "system", "obsolete",
}

func (g Group) String() string { return groupNames[g] }

// Row is one system call.
type Row struct {
	Nr    int
	Name  string
	Group Group
	Serve Serve
	Ret   Type
	Args  A
	Note  string // why it is refused, or what differs from Linux; "" if nothing
}

// How returns what serves the call: Pass, Handle or Refuse.
func (r *Row) How() Serve { return r.Serve.How() }

// Errno returns what a refused call gives.
func (r *Row) Errno() unix.Errno { return r.Serve.Errno() }
