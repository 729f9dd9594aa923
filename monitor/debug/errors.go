package debug

import (
	"errors"

	"golang.org/x/sys/unix"
)

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

// sentinels cross the channel as themselves, unix.Errno as its number, other errors as text.
var sentinels = []error{ErrNoThread, ErrRunning, ErrUnsupported, ErrClosed}

func failureOf(err error) failure {
	f := failure{text: err.Error()}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			f.sentinel = uint8(i + 1)
		}
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		f.errno = uint32(errno)
	}
	return f
}

// err is the error that the other side met.
func (f *failure) err() error {
	switch {
	case f.sentinel > 0 && int(f.sentinel) <= len(sentinels):
		return sentinels[f.sentinel-1]
	case f.errno != 0:
		return unix.Errno(f.errno)
	}
	return errors.New(f.text)
}
