package debug

import "encoding/binary"

// resume lets threads go on. If one of them has a stop that was not reported yet, nobody moves and it is reported now.
func (s *session) resume(actions []Action) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return ErrClosed
	case s.running:
		return ErrRunning
	}
	var batch []Action
	due := s.interrupt || len(s.exits) > 0
	for _, t := range s.threads {
		a, ok := match(actions, t.tid)
		t.resumed, t.stepping = ok, ok && a.Kind == Step
		if !ok {
			continue
		}
		t.pending = t.pending && s.stillDue(t, a)
		due = due || t.pending
		if a.Signal != 0 {
			t.signal = a.Signal
		}
		a.Tid, a.Signal = t.tid, t.signal
		batch = append(batch, a)
	}
	if due || len(batch) == 0 {
		s.running, s.stopping = true, true
		s.settle()
		return nil
	}
	return s.start(batch)
}

// match gives the first action for a thread.
func match(actions []Action, tid int) (Action, bool) {
	for _, a := range actions {
		if a.Tid == tid || a.Tid == AllThreads {
			return a, a.Kind != Stay
		}
	}
	return Action{}, false
}

// stillDue tells if a stop that was not reported yet still means something now that the thread is asked to do a. A
// breakpoint that was removed meanwhile does not: the thread goes on with the instruction that was under it.
func (s *session) stillDue(t *thread, a Action) bool {
	switch t.stop.Reason {
	case StopBreakpoint:
		return s.armed(t.stop.Addr)
	case StopStep:
		return a.Kind == Step
	}
	return true
}

// setRegs drops an unreported stop that belongs to the place that the client moves the thread away from.
func (s *session) setRegs(tid int, r *Regs) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.threads[tid]
	if t == nil {
		return ErrNoThread
	}
	old, err := s.inf.Regs(tid)
	if err != nil {
		return err
	}
	if old.Rip != r.Rip && (t.stop.Reason == StopBreakpoint || t.stop.Reason == StopStep) {
		t.pending = false
	}
	return s.inf.SetRegs(tid, r)
}

func (s *session) armed(addr uint64) bool {
	_, soft := s.breakpoints[Breakpoint{Software, addr, 1}]
	_, hard := s.breakpoints[Breakpoint{Hardware, addr, 1}]
	return soft || hard
}

func (s *session) start(batch []Action) error {
	for i, a := range batch {
		t := s.threads[a.Tid]
		t.parked, t.pending, t.watching = false, false, false
		if len(s.watches) > 0 {
			batch[i] = t.watched(a)
		}
	}
	s.refreshWatches()
	s.running = true
	if err := s.inf.Resume(batch); err != nil {
		for _, a := range batch {
			s.threads[a.Tid].parked = true
		}
		s.running = false
		return err
	}
	for _, a := range batch {
		s.threads[a.Tid].signal = 0
	}
	return nil
}

// interrupted stops all threads for the client. If something else turns out to have stopped them, the interrupt is
// reported after that; with any, that will do.
func (s *session) interrupted(any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return
	}
	if any {
		s.halting = true
	} else {
		s.interrupt = true
	}
	s.stopAll()
	s.settle()
}

// detach lets the payload go on without a client. Signals in deliver that threads stopped for reach them.
func (s *session) detach(deliver uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet()
	s.passive, s.interrupt, s.halting, s.exits = true, false, false, nil
	if s.running || s.ended {
		return nil
	}
	return s.release(deliver)
}

// disconnect is for a client that vanished: what stands still goes on standing still, what runs runs.
func (s *session) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet()
	s.passive = s.running
	s.interrupt, s.halting, s.exits = false, false, nil
}

// quiet makes that nothing stops any more.
func (s *session) quiet() {
	for b := range s.breakpoints {
		s.inf.RemoveBreakpoint(b)
	}
	clear(s.breakpoints)
	s.watches = nil
	s.pass = ^uint64(0)
	s.inf.PassSignals(s.pass)
	s.inf.CatchSyscalls(false, nil)
	s.notifies = false
}

// release lets all parked threads go on.
func (s *session) release(deliver uint64) error {
	var batch []Action
	for _, t := range s.threads {
		if !t.parked {
			continue
		}
		a := Action{Tid: t.tid, Signal: t.signal}
		if sig := t.stop.signal(); sig > 0 && deliver>>(sig-1)&1 != 0 {
			a.Signal = sig
		}
		t.resumed, t.stepping = true, false
		batch = append(batch, a)
	}
	return s.start(batch)
}

// signal is the signal that a thread stopped for, 0 if it was not one.
func (s *Stop) signal() int {
	if s.Reason != StopSignal {
		return 0
	}
	return int(binary.LittleEndian.Uint32(s.Siginfo[:]) & 0x7f)
}

func (s *session) insert(b Breakpoint) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hidden, err := s.inf.InsertBreakpoint(b)
	switch err {
	case nil:
		s.breakpoints[b] = struct{}{}
	case ErrUnsupported:
		err = s.insertWatch(b)
	}
	return hidden, err
}

func (s *session) remove(b Breakpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removeWatch(b) {
		return nil
	}
	delete(s.breakpoints, b)
	return s.inf.RemoveBreakpoint(b)
}

func (s *session) passSignals(set uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.inf.PassSignals(set); err != nil {
		return err
	}
	s.pass = set
	return nil
}

func (s *session) threadEvents(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifies = on
}
