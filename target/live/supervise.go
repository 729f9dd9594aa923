package live

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// Signals that the terminal sends to the whole foreground process group: the payload gets its own.
var terminalSignals = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP}

// Signals that somebody sends to the supervisor and means the payload.
var forwarded = []os.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}

// Catch makes this process a supervisor: from now on it takes the signals that Supervise handles. Call it before Start,
// so that none ends the supervisor alone. What the supervisor was started with ignored (nohup, background jobs of sh)
// stays so, for the child too.
func Catch() { caught() }

var caught = sync.OnceValue(func() chan os.Signal {
	signals := make(chan os.Signal, 16)
	for _, sig := range append(append([]os.Signal{}, terminalSignals...), forwarded...) {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	return signals
})

// FrontEnd is what Supervise asks of the server that has the payload's debuggers as its clients. Its methods may be called
// from any goroutine.
type FrontEnd interface {
	// HasClient tells if a debugger has the payload in hand.
	HasClient() bool
	// Left delivers something after a debugger has left, when HasClient says so already. Several may merge into one.
	Left() <-chan struct{}
}

// Supervise makes the supervisor transparent until its child has ended, and returns how it ended (see ExitAs). The
// terminal's signals are left to the payload, which is in the same process group; SIGTERM, SIGHUP, SIGUSR1 and
// SIGUSR2 are passed on; when job control stops the payload, the supervisor stops too, so that the shell notices.
// A payload that is stopped and has no debugger can't react: it is ended by any of these signals, and by one that came
// while it had a debugger which then left without letting the payload see it. Call it once, in a process that has called
// Catch, when Start has returned.
func (p *Process) Supervise(front FrontEnd) target.WaitStatus {
	signals := caught()
	s := supervisor{p: p, front: front}
	for {
		select {
		case <-p.child.done:
			return p.child.status
		case sig := <-p.child.stopped:
			if jobControl(sig) {
				unix.Kill(unix.Getpid(), unix.SIGSTOP) // until the shell continues the whole group
			}
		case sig := <-signals:
			s.relay(sig.(unix.Signal))
		case <-front.Left():
			s.left()
		}
	}
}

func jobControl(sig unix.Signal) bool {
	return sig == unix.SIGTSTP || sig == unix.SIGTTIN || sig == unix.SIGTTOU
}

// supervisor is the state of Supervise.
type supervisor struct {
	p     *Process
	front FrontEnd
	owed  target.SignalSet // came while there was a debugger
	stop  uint64           // the stop (Process.stops) that the last of them found the payload in; 0: it ran
}

// relay serves a signal that was sent to the supervisor.
func (s *supervisor) relay(sig unix.Signal) {
	if sig == unix.SIGTSTP {
		return
	}
	before := s.front.HasClient() // it may stop the payload and leave while we look
	stop, stopped := s.p.standing()
	now := s.front.HasClient()
	if stopped && !now {
		s.p.Kill()
		return
	}
	if before || now {
		s.owed |= 1 << (sig - 1)
		s.stop = stop
	}
	for _, f := range forwarded {
		if f == sig {
			unix.Kill(s.p.child.pid, sig)
		}
	}
}

// left ends a payload that a debugger has left standing, with a signal that it can't see.
func (s *supervisor) left() {
	stop, stopped := s.p.standing()
	if s.front.HasClient() {
		return // the next one; what is owed stays so
	}
	if stopped && s.owed != 0 && (stop == s.stop || s.owed&s.p.unseen() != 0) {
		s.p.Kill()
	}
	s.owed, s.stop = 0, 0
}

// standing tells if the payload is stopped, and where.
func (p *Process) standing() (stop uint64, stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running || p.ended {
		return 0, false
	}
	return p.stops, true
}

// unseen are the signals that have arrived and that the stopped payload has not taken: those that threads stopped for,
// and those that the host holds for it (proc_pid_status(5), ShdPnd).
func (p *Process) unseen() (set target.SignalSet) {
	threads, _ := p.client.Threads()
	for i := range threads {
		info := target.Siginfo(threads[i].Stop.Siginfo)
		if sig := info.Signal(); threads[i].Stop.Reason == debug.StopSignal && sig > 0 {
			set |= 1 << (sig - 1)
		}
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.child.pid))
	for line := range bytes.Lines(status) {
		if word, ok := bytes.CutPrefix(line, []byte("ShdPnd:")); ok {
			pending, _ := strconv.ParseUint(string(bytes.TrimSpace(word)), 16, 64)
			set |= target.SignalSet(pending)
		}
	}
	return set
}
