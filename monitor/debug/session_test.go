package debug

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// begin attaches a session to a toy; reports come in the channel.
func begin(y *toy) (*session, chan Report) {
	reports := make(chan Report, 64)
	return newSession(y, func(r *Report) { reports <- *r }), reports
}

// only gives the one report that there must be.
func only(t *testing.T, reports chan Report) Report {
	t.Helper()
	if len(reports) != 1 {
		t.Fatalf("%d reports, want one", len(reports))
	}
	return <-reports
}

func none(t *testing.T, reports chan Report) {
	t.Helper()
	if len(reports) != 0 {
		t.Fatalf("report %+v, want none", <-reports)
	}
}

// halted is a stopped session over threads 1, 2 and 3.
func halted(t *testing.T) (*toy, *session, chan Report) {
	t.Helper()
	y := newToy(1, 2, 3)
	s, reports := begin(y)
	s.interrupted(false)
	none(t, reports)
	y.obey()
	if r := only(t, reports); r.Kind != EventStopped || r.Stop.Reason != StopInterrupt || r.Tid != 1 {
		t.Fatalf("the interrupt is reported as %+v", r)
	}
	return y, s, reports
}

func all() []Action { return []Action{{}} }

func TestStartIsReported(t *testing.T) {
	y := newToy(7)
	y.threads[7].parked, y.threads[7].stop = true, Stop{Reason: StopStart}
	s, reports := begin(y)
	if r := only(t, reports); r.Tid != 7 || r.Stop.Reason != StopStart || r.Regs.Rip != 7<<12 {
		t.Errorf("report %+v", r)
	}
	if err := s.resume(all()); err != nil || len(y.resumed) != 1 {
		t.Errorf("resume: %v", err)
	}
	if err := s.resume(all()); err != ErrRunning {
		t.Errorf("second resume: %v", err)
	}
}

// TestAllStop: the first stop parks everyone, nothing is reported before, and stops that happen meanwhile come later.
func TestAllStop(t *testing.T) {
	y, s, reports := halted(t)
	for _, addr := range []uint64{0x100, 0x200} {
		s.insert(Breakpoint{Software, addr, 1})
	}
	s.resume(all())
	y.hit(2, 0x100)
	none(t, reports)
	y.hit(3, 0x200)
	none(t, reports)
	y.obey()
	if r := only(t, reports); r.Tid != 2 || r.Stop.Addr != 0x100 || r.Regs.Rip != 0x100 {
		t.Errorf("first report %+v", r)
	}
	<-y.resumed
	s.resume(all())
	if r := only(t, reports); r.Tid != 3 || r.Stop.Addr != 0x200 {
		t.Errorf("second report %+v", r)
	}
	if len(y.resumed) != 0 {
		t.Error("threads moved although a stop was due")
	}
	s.resume(all())
	none(t, reports)
	if got := <-y.resumed; len(got) != 3 {
		t.Errorf("resumed %+v", got)
	}
}

// TestPendingStopsThatMeanNothing: the breakpoint was removed, or the thread was moved away.
func TestPendingStopsThatMeanNothing(t *testing.T) {
	for name, undo := range map[string]func(s *session){
		"removed": func(s *session) { s.remove(Breakpoint{Software, 0x200, 1}) },
		"moved": func(s *session) {
			r, _ := s.inf.Regs(3)
			r.Rip = 0x300
			s.setRegs(3, &r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			y, s, reports := halted(t)
			s.insert(Breakpoint{Software, 0x200, 1})
			s.resume(all())
			y.stopped(2, Stop{Reason: StopStep})
			y.hit(3, 0x200)
			y.obey()
			only(t, reports)
			<-y.resumed
			undo(s)
			s.resume(all())
			none(t, reports)
			if len(y.resumed) != 1 {
				t.Error("the threads do not run")
			}
		})
	}
}

// TestPendingSignal stays with its thread until that one is resumed, and is then reported; it is never delivered unseen.
func TestPendingSignal(t *testing.T) {
	y, s, reports := halted(t)
	s.resume(all())
	y.stopped(1, Stop{Reason: StopStep})
	y.stopped(3, Stop{Reason: StopSignal, Siginfo: Siginfo{byte(unix.SIGUSR1)}})
	y.obey()
	only(t, reports)
	<-y.resumed
	s.resume([]Action{{Tid: 1, Kind: Step}}) // only thread 1 moves
	if got := <-y.resumed; len(got) != 1 || got[0].Tid != 1 {
		t.Errorf("resumed %+v", got)
	}
	y.stopped(1, Stop{Reason: StopStep})
	if r := only(t, reports); r.Tid != 1 {
		t.Errorf("report %+v", r)
	}
	s.resume([]Action{{Tid: 1, Signal: 5}, {}})
	if r := only(t, reports); r.Tid != 3 || r.Stop.signal() != int(unix.SIGUSR1) {
		t.Errorf("report %+v", r)
	}
	s.resume([]Action{{Tid: 3, Signal: int(unix.SIGUSR1)}, {}})
	got := <-y.resumed
	slices.SortFunc(got, func(a, b Action) int { return a.Tid - b.Tid })
	if got[0].Signal != 5 || got[1].Signal != 0 || got[2].Signal != int(unix.SIGUSR1) {
		t.Errorf("resumed %+v: the signal given before thread 3's report is lost, or another", got)
	}
}

// TestSteppedThreadIsReportedFirst, however late it stops.
func TestSteppedThreadIsReportedFirst(t *testing.T) {
	y, s, reports := halted(t)
	s.insert(Breakpoint{Software, 0x100, 1})
	s.resume([]Action{{Tid: 3, Kind: Step}, {}})
	y.hit(1, 0x100)
	y.stopped(3, Stop{Reason: StopStep})
	y.obey()
	if r := only(t, reports); r.Tid != 3 {
		t.Errorf("report %+v", r)
	}
}

// TestInterruptIsNotLost when something else stops the threads first.
func TestInterruptIsNotLost(t *testing.T) {
	y, s, reports := halted(t)
	s.insert(Breakpoint{Software, 0x100, 1})
	s.resume(all())
	s.interrupted(false)
	y.hit(2, 0x100)
	y.obey()
	if r := only(t, reports); r.Stop.Reason != StopBreakpoint {
		t.Errorf("report %+v", r)
	}
	<-y.resumed
	s.resume(all())
	if r := only(t, reports); r.Stop.Reason != StopInterrupt || r.Tid != 2 || len(y.resumed) != 0 {
		t.Errorf("report %+v", r)
	}
	s.interrupted(false) // of a stopped process: nothing
	s.resume(all())
	none(t, reports)
}

// TestHalt is satisfied by any stop, and a thread that parks at its start late is no less a start.
func TestHalt(t *testing.T) {
	y := newToy(7)
	s, reports := begin(y)
	s.interrupted(true)
	y.stopped(7, Stop{Reason: StopStart})
	if r := only(t, reports); r.Stop.Reason != StopStart {
		t.Errorf("report %+v", r)
	}
	s.resume(all())
	none(t, reports)
	s.interrupted(true)
	y.obey()
	if r := only(t, reports); r.Stop.Reason != StopInterrupt {
		t.Errorf("report %+v", r)
	}

	y = newToy(7)
	_, reports = begin(y)
	y.stopped(7, Stop{Reason: StopStart})
	if r := only(t, reports); r.Stop.Reason != StopStart {
		t.Errorf("without a client: report %+v", r)
	}
}

// TestThreadsComeAndGo while everything is being stopped.
func TestThreadsComeAndGo(t *testing.T) {
	y, s, reports := halted(t)
	s.resume(all())
	s.interrupted(false)
	y.created(4)
	y.exited(2)
	y.obey()
	only(t, reports)
	if !y.threads[4].parked {
		t.Error("the new thread runs")
	}
	<-y.resumed
	s.resume([]Action{{Tid: 4}})
	<-y.resumed
	y.exited(4)
	if r := only(t, reports); r.Kind != EventNoResumed {
		t.Errorf("when the only thread that ran is gone: %+v", r)
	}
	s.resume([]Action{{Tid: 99}})
	if r := only(t, reports); r.Kind != EventNoResumed {
		t.Errorf("when no thread is resumed: %+v", r)
	}
}

func TestThreadEvents(t *testing.T) {
	y, s, reports := halted(t)
	s.threadEvents(true)
	s.resume(all())
	y.created(4)
	y.obey()
	if r := only(t, reports); r.Tid != 4 || r.Stop.Reason != StopCreated {
		t.Errorf("report %+v", r)
	}
	s.resume(all())
	y.exited(4)
	y.obey()
	if r := only(t, reports); r.Tid != 4 || r.Kind != EventThreadExited {
		t.Errorf("report %+v", r)
	}
}

func TestExit(t *testing.T) {
	y, s, reports := halted(t)
	s.resume(all())
	y.emit(Event{Kind: EventExited, Tid: 1, Status: 3 << 8})
	if r := only(t, reports); r.Kind != EventExited || r.Status != 3<<8 {
		t.Errorf("report %+v", r)
	}
	if err := s.resume(all()); err != ErrClosed {
		t.Errorf("resume after the end: %v", err)
	}
}

// TestDetach: breakpoints go, signals that were shown are delivered if wanted, and all run.
func TestDetach(t *testing.T) {
	for deliver, want := range map[uint64]int{^uint64(0): int(unix.SIGUSR1), 0: 0} {
		y, s, reports := halted(t)
		s.insert(Breakpoint{Software, 0x100, 1})
		s.passSignals(0)
		s.resume(all())
		y.stopped(2, Stop{Reason: StopSignal, Siginfo: Siginfo{byte(unix.SIGUSR1)}})
		y.obey()
		only(t, reports)
		<-y.resumed
		if err := s.detach(deliver); err != nil {
			t.Fatal(err)
		}
		got := <-y.resumed
		for _, a := range got {
			if a.Tid == 2 && a.Signal != want || a.Tid != 2 && a.Signal != 0 {
				t.Errorf("resumed %+v", a)
			}
		}
		if len(got) != 3 || len(y.breaks) != 0 || y.pass != ^uint64(0) {
			t.Errorf("%d resumed, %d breakpoints, passed %#x", len(got), len(y.breaks), y.pass)
		}
	}
}

// TestDisconnectWhileStopping: the client is gone before the threads are parked, so they go on.
func TestDisconnectWhileStopping(t *testing.T) {
	y, s, reports := halted(t)
	s.insert(Breakpoint{Software, 0x100, 1})
	s.resume(all())
	<-y.resumed
	y.hit(2, 0x100)
	s.disconnect()
	y.obey()
	none(t, reports)
	if got := <-y.resumed; len(got) != 3 {
		t.Errorf("resumed %+v", got)
	}
	s.interrupted(false) // the next client
	y.obey()
	if r := only(t, reports); r.Stop.Reason != StopInterrupt {
		t.Errorf("report %+v", r)
	}
	s.disconnect() // a stopped process stays stopped
	if len(y.resumed) != 0 {
		t.Error("it runs")
	}
}

// TestWatch steps threads, new ones too, until the watched bytes change.
func TestWatch(t *testing.T) {
	y, s, reports := halted(t)
	y.memory = []byte{1, 2}
	w := Breakpoint{WatchWrite, 0x1000, 2}
	if _, err := s.insert(w); err != nil {
		t.Fatal(err)
	}
	if _, err := s.insert(Breakpoint{WatchWrite, 0x1001, 2}); err != unix.EFAULT {
		t.Errorf("watching a hole: %v", err)
	}
	if _, err := s.insert(Breakpoint{WatchRead, 0x1000, 2}); err != ErrUnsupported {
		t.Errorf("watching reads: %v", err)
	}
	s.resume(all())
	for _, a := range <-y.resumed {
		if a.Kind != Step {
			t.Errorf("thread %d is not stepped", a.Tid)
		}
	}
	y.stopped(2, Stop{Reason: StopStep})
	none(t, reports)
	if got := <-y.resumed; len(got) != 1 || got[0] != (Action{Tid: 2, Kind: Step}) {
		t.Errorf("after a step %+v", got)
	}
	y.created(4)
	y.obey()
	if got := <-y.resumed; len(got) != 1 || got[0] != (Action{Tid: 4, Kind: Step}) {
		t.Errorf("a new thread %+v", got)
	}
	y.memory[1] = 3
	y.stopped(4, Stop{Reason: StopStep})
	none(t, reports)
	y.stopped(2, Stop{Reason: StopStep}) // a step that ended meanwhile says nothing
	y.obey()
	if r := only(t, reports); r.Tid != 4 || r.Stop.Reason != StopWatch || r.Stop.Addr != 0x1000 {
		t.Errorf("report %+v", r)
	}
	s.resume(all())
	none(t, reports)
	if err := s.remove(w); err != nil {
		t.Error(err)
	}
	<-y.resumed
	y.stopped(1, Stop{Reason: StopStep}) // still stepping for a watchpoint that is gone
	if got := <-y.resumed; len(got) != 1 || got[0].Kind != Continue {
		t.Errorf("without watchpoints %+v", got)
	}
}

// TestWatchWithinRange: the client's range step goes on over the session's single steps.
func TestWatchWithinRange(t *testing.T) {
	y, s, reports := halted(t)
	s.insert(Breakpoint{WatchWrite, 0x1000, 1})
	s.resume([]Action{{Tid: 1, Kind: Step, Start: 0x1000, End: 0x1010}})
	<-y.resumed
	y.threads[1].regs.Rip = 0x100f
	y.stopped(1, Stop{Reason: StopStep})
	none(t, reports)
	<-y.resumed
	y.threads[1].regs.Rip = 0x1010
	y.stopped(1, Stop{Reason: StopStep})
	if r := only(t, reports); r.Stop.Reason != StopStep {
		t.Errorf("report %+v", r)
	}
}
