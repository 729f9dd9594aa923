package debug

import "errors"

// Version of the messages. Both halves are of one build except with kmdev attach, which checks it.
const Version = 1

var (
	// ErrNoThread: the payload has no thread of that tid.
	ErrNoThread = errors.New("no such thread")
	// ErrRunning: the thread must be stopped first.
	ErrRunning = errors.New("the thread is running")
	// ErrUnsupported: this monitor can't do that.
	ErrUnsupported = errors.New("not supported")
	// ErrClosed: the monitor is gone.
	ErrClosed = errors.New("the debug channel is closed")
)
