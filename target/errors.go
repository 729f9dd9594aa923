package target

import (
	"errors"
	"fmt"
)

var (
	// ErrNoThread: the process has no thread of that tid.
	ErrNoThread = errors.New("no such thread")
	// ErrRunning: the process must be stopped first.
	ErrRunning = errors.New("the process is running")
	// ErrUnsupported: this back end can't do that.
	ErrUnsupported = errors.New("not supported by this target")
	// ErrGone: the process has ended.
	ErrGone = errors.New("the process has ended")
)

// MemoryError is an access to an address where the payload has no memory.
type MemoryError struct {
	Addr uint64 // the first byte that is not there
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("cannot access memory at address %#x", e.Addr)
}
