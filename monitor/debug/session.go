package debug

import "sync"

// session makes all-stop of an Inferior's single threads. Two states: running, when the client is owed a report, and
// stopped, when every thread is parked. The first thread that parks for a reason of its own starts a stop of all;
// when the last one is parked, one of the reasons is reported and the others stay with their threads, to be reported
// when these are resumed.
//
// mu is held while the Inferior is called, and taken in the sink, on vCPU threads; the Inferior holds none of its own locks there.
type session struct {
	inf  Inferior
	send func(*Report)

	mu          sync.Mutex
	threads     map[int]*thread
	clock       uint64 // counts stops, to report them in order
	running     bool
	stopping    bool // Stop(AllThreads) is in force
	interrupt   bool // the client's interrupt was not reported yet
	halting     bool // the client wants a stop, whatever its reason
	passive     bool // no client: whatever stops goes on by itself
	ended       bool // EventExited was sent
	notifies    bool // thread creation and exit stop the process
	exits       []Event
	last        int // thread of the last report
	pass        uint64
	breakpoints map[Breakpoint]struct{}
	watches     []*watch
}

// thread is what the session knows of a payload thread.
type thread struct {
	tid      int
	parked   bool
	resumed  bool // by the last Resume, or created since
	stepping bool
	created  bool // EventCreated is to be reported
	stop     Stop // why it is parked
	pending  bool // stop was not reported yet
	when     uint64
	signal   int    // to be delivered when it goes on
	watching bool   // stepped for the sake of watchpoints
	asked    Action // what it does meanwhile, as the client sees it
}

// newSession takes over the Inferior. If it is parked as a whole, the first report says why.
func newSession(inf Inferior, send func(*Report)) *session {
	s := &session{inf: inf, send: send, threads: map[int]*thread{}, pass: ^uint64(0), breakpoints: map[Breakpoint]struct{}{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range inf.Attach(s.event) {
		s.threads[t.Tid] = &thread{tid: t.Tid, resumed: true}
		if t.Parked {
			s.parked(s.threads[t.Tid], t.Stop)
		}
	}
	s.running = true
	s.passive = !s.anyPending()
	if !s.passive {
		s.stopAll()
		s.settle()
	}
	return s
}

// event is the sink.
func (s *session) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	switch e.Kind {
	case EventStopped:
		if t := s.threads[e.Tid]; t != nil && !t.parked {
			if t.watching && s.goesOn(t, &e.Stop) {
				return
			}
			s.parked(t, e.Stop)
			s.passive = s.passive && e.Stop.Reason != StopStart // somebody wants it to wait for a client
			if t.pending && s.running {
				s.stopAll()
			}
		}
	case EventCreated:
		s.threads[e.Tid] = &thread{tid: e.Tid, resumed: true, created: s.notifies}
		s.watchNew(s.threads[e.Tid])
		if s.notifies && s.running {
			s.stopAll()
		}
	case EventThreadExited:
		delete(s.threads, e.Tid)
		if s.notifies {
			s.exits = append(s.exits, e)
		}
		if s.running && (s.notifies || !s.anyRunning()) {
			s.stopAll()
		}
	case EventExited:
		s.ended, s.running = true, false
		s.send(&Report{Event: e})
		return
	}
	s.settle()
}

func (s *session) parked(t *thread, stop Stop) {
	t.parked, t.stop = true, stop
	t.pending = stop.Reason != StopRequested
	if t.created {
		t.created, t.pending = false, true
		t.stop.Reason = StopCreated
	}
	s.clock++
	t.when = s.clock
}

func (s *session) stopAll() {
	if s.stopping {
		return
	}
	s.stopping = true
	s.inf.Stop(AllThreads)
}

func (s *session) anyPending() bool {
	for _, t := range s.threads {
		if t.pending {
			return true
		}
	}
	return false
}

func (s *session) anyRunning() bool {
	for _, t := range s.threads {
		if !t.parked {
			return true
		}
	}
	return false
}

// settle reports once the stop of all threads is complete.
func (s *session) settle() {
	if !s.stopping || s.anyRunning() || len(s.threads) == 0 {
		return
	}
	s.stopping = false
	if s.passive && !s.interrupt && !s.halting {
		s.release(^uint64(0))
		return
	}
	halting := s.halting
	s.running, s.passive, s.halting = false, false, false
	r := s.choose(halting)
	s.last = r.Tid
	if r.Kind == EventStopped {
		r.Regs, _ = s.inf.Regs(r.Tid)
	}
	s.send(&r)
}

// choose takes the report out of what happened: first threads that exited, then what a stepped thread met, then the
// oldest stop, then the client's interrupt.
func (s *session) choose(halting bool) Report {
	if len(s.exits) > 0 {
		e := s.exits[0]
		s.exits = s.exits[1:]
		return Report{Event: e}
	}
	var best *thread
	resumed := 0
	for _, t := range s.threads {
		if t.resumed {
			resumed++
		}
		if t.resumed && t.pending && (best == nil || t.before(best)) {
			best = t
		}
	}
	if best != nil {
		best.pending = false
		return Report{Event: Event{Kind: EventStopped, Tid: best.tid, Stop: best.stop}}
	}
	if resumed == 0 && !s.interrupt && !halting {
		return Report{Event: Event{Kind: EventNoResumed}}
	}
	s.interrupt = false
	return Report{Event: Event{Kind: EventStopped, Tid: s.focus(), Stop: Stop{Reason: StopInterrupt}}}
}

func (t *thread) before(u *thread) bool {
	if t.stepping != u.stepping {
		return t.stepping
	}
	return t.when < u.when
}

// focus is the thread that an interrupt is reported for: the last one reported, else the lowest that was running.
func (s *session) focus() int {
	if t := s.threads[s.last]; t != nil && t.resumed {
		return t.tid
	}
	best := 0
	for _, t := range s.threads {
		if best == 0 || t.resumed && !s.threads[best].resumed || t.resumed == s.threads[best].resumed && t.tid < best {
			best = t.tid
		}
	}
	return best
}
