package hostcall

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// FileSize is held while RLIMIT_FSIZE is not the payload's, and by whoever changes it.
var FileSize sync.Mutex

// OwnFile runs f, which makes a file of the monitor's: the payload's RLIMIT_FSIZE is about its own. What its hard limit forbids
// is EFBIG, without the signal. On a vCPU thread or the main one.
func OwnFile(f func() error) error {
	FileSize.Lock()
	defer FileSize.Unlock()
	var l unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &l) != nil || l.Cur == unix.RLIM_INFINITY {
		return f()
	}
	const signal = 1 << (unix.SIGXFSZ - 1)
	was := pending() & signal
	wide := unix.Rlimit{Cur: l.Max, Max: l.Max}
	if unix.Prlimit(0, unix.RLIMIT_FSIZE, &wide, nil) == nil {
		defer unix.Prlimit(0, unix.RLIMIT_FSIZE, &l, nil)
	}
	err := f()
	if errors.Is(err, unix.EFBIG) && was == 0 {
		Dequeue(signal)
	}
	return err
}
