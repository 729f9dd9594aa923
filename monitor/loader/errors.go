package loader

import (
	"fmt"
	"strconv"
	"unicode"

	"golang.org/x/sys/unix"
)

// Exit codes of a program that could not be started, as shells and env(1) give them.
const (
	ExitCannotRun = 126 // it is there but cannot be run
	ExitNotFound  = 127 // no such file
)

// Error says why a program cannot be started.
type Error struct {
	// Path is the program as it was named: the file given to Open, also when its interpreter is at fault.
	Path string
	// Errno is what execve(2) returns, or would return if it could still fail at this point (see Fatal).
	Errno unix.Errno
	// Reason says in one line, without the path, what is wrong and what to do about it.
	Reason string
	// ExitCode is for a launcher: ExitCannotRun or ExitNotFound.
	ExitCode int
	// Fatal: Linux finds this only after the old program is gone, and kills the process with SIGSEGV (or SIGBUS).
	Fatal bool
}

// Error returns one line: the path and the reason.
func (e *Error) Error() string { return show(e.Path) + ": " + e.Reason }

// Unwrap gives the errno to errors.Is.
func (e *Error) Unwrap() error { return e.Errno }

// fault is an Error that does not yet know which program it is about.
type fault struct {
	errno   unix.Errno
	fatal   bool
	missing bool // the program itself does not exist
	reason  string
}

func faultf(errno unix.Errno, format string, args ...any) *fault {
	return &fault{errno: errno, reason: fmt.Sprintf(format, args...)}
}

// fatalf is faultf for what Linux finds only after the point of no return.
func fatalf(errno unix.Errno, format string, args ...any) *fault {
	return &fault{errno: errno, fatal: true, reason: fmt.Sprintf(format, args...)}
}

// within puts words in front of the reason: whose fault it is when it is not the program's own.
func (f *fault) within(format string, args ...any) *fault {
	return &fault{errno: f.errno, fatal: f.fatal, reason: fmt.Sprintf(format, args...) + f.reason}
}

func (f *fault) at(path string) *Error {
	e := &Error{Path: path, Errno: f.errno, Reason: f.reason, ExitCode: ExitCannotRun, Fatal: f.fatal}
	if f.missing {
		e.ExitCode = ExitNotFound
	}
	return e
}

// maxShown bounds how much of a name from a foreign file is shown.
const maxShown = 200

// show makes a name fit for one line on a terminal: quoted if it is empty or has anything but printable characters.
func show(name string) string {
	if len(name) > maxShown {
		name = name[:maxShown] + "…"
	}
	if name == "" {
		return `""`
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(name)
		}
	}
	return name
}
