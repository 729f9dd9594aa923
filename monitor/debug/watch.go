package debug

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Watchpoints by single step, for kinds of watchpoints that the Inferior has not got: while there are any, threads that
// continue are stepped, and after each step the watched bytes are compared with what they were. Only writes that
// change something are seen this way, so only WatchWrite is offered.

// Bounds of what is compared after every step.
const (
	maxWatches   = 64
	maxWatchSize = 4096
)

// watch is a watchpoint by single step.
type watch struct {
	at   Breakpoint
	last []byte // what was there when it was last looked at
}

// insertWatch arms one.
func (s *session) insertWatch(b Breakpoint) error {
	if b.Kind != WatchWrite || b.Size == 0 || b.Size > maxWatchSize {
		return ErrUnsupported
	}
	for _, w := range s.watches {
		if w.at == b {
			return unix.EEXIST
		}
	}
	if len(s.watches) == maxWatches {
		return unix.ENOSPC
	}
	w := &watch{at: b, last: make([]byte, b.Size)}
	if n, err := s.inf.ReadMemory(b.Addr, w.last); err != nil || n < len(w.last) {
		return unix.EFAULT
	}
	s.watches = append(s.watches, w)
	return nil
}

// removeWatch tells if there was one.
func (s *session) removeWatch(b Breakpoint) bool {
	for i, w := range s.watches {
		if w.at == b {
			s.watches = append(s.watches[:i], s.watches[i+1:]...)
			return true
		}
	}
	return false
}

// refreshWatches looks at the watched bytes anew: the client may have changed them.
func (s *session) refreshWatches() {
	for _, w := range s.watches {
		s.inf.ReadMemory(w.at.Addr, w.last)
	}
}

// changed gives the first watchpoint whose bytes are not what they were.
func (s *session) changed() *watch {
	var now [maxWatchSize]byte
	for _, w := range s.watches {
		p := now[:len(w.last)]
		if n, _ := s.inf.ReadMemory(w.at.Addr, p); !bytes.Equal(p[:n], w.last[:n]) {
			copy(w.last, p[:n])
			return w
		}
	}
	return nil
}

// watched makes an action one that stops after each instruction. What the client asked for is kept in t.asked.
func (t *thread) watched(a Action) Action {
	t.watching, t.asked = true, a
	return Action{Tid: a.Tid, Kind: Step, Signal: a.Signal}
}

// watchNew makes a thread that was just created one that is stepped, too.
func (s *session) watchNew(t *thread) {
	if len(s.watches) > 0 && !s.stopping {
		t.watching, t.asked = true, Action{Tid: t.tid}
		s.inf.Stop(t.tid)
	}
}

// goesOn is called in the sink when a watching thread has parked. It tells if nothing happened but a step (or that a new
// thread stopped to be stepped from now on), and then the thread runs again. Else stop becomes what there is to say.
func (s *session) goesOn(t *thread, stop *Stop) bool {
	switch stop.Reason {
	case StopRequested:
		if s.stopping {
			return false
		}
	case StopStep:
		if w := s.changed(); w != nil {
			*stop = Stop{Reason: StopWatch, Addr: w.at.Addr, Watch: w.at.Kind}
			return false
		}
		if t.asked.Kind == Step && !s.inRange(t) {
			return false
		}
		if s.stopping {
			stop.Reason = StopRequested
			return false
		}
	default:
		return false
	}
	next := Action{Tid: t.tid, Kind: Step}
	if len(s.watches) == 0 { // taken away meanwhile
		next = t.asked
		next.Signal, t.watching = 0, false
	}
	return s.inf.Resume([]Action{next}) == nil
}

// inRange tells if a thread that steps through a range is still in it.
func (s *session) inRange(t *thread) bool {
	if t.asked.Start == t.asked.End {
		return false
	}
	r, err := s.inf.Regs(t.tid)
	return err == nil && t.asked.Start <= r.Rip && r.Rip < t.asked.End
}
