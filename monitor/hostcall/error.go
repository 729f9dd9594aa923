package hostcall

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// This package imports neither os nor fmt: its variables are initialised before package os raises the limit of
// descriptors (see nofileAtInit), and start-up time counts.

// Error is a failure of the host.
type Error struct {
	Op    string
	Errno unix.Errno
}

func (e *Error) Error() string { return "hostcall: " + e.Op + ": " + e.Errno.Error() }

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

var errNotStarted = errors.New("hostcall: call Init first")

func decimal(n int) string { return strconv.Itoa(n) }
