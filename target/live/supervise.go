package live

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

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

// Supervise makes the supervisor transparent until its child has ended, and returns how it ended (see ExitAs). The
// terminal's signals are left to the payload, which is in the same process group; SIGTERM, SIGHUP, SIGUSR1 and
// SIGUSR2 are passed on; when job control stops the payload, the supervisor stops too, so that the shell notices.
// A payload that is stopped and has no debugger can't react: if waiting says that it has none, a signal that would
// end it does. Call it once, in a process that has called Catch.
func (p *Process) Supervise(waiting func() bool) target.WaitStatus {
	signals := caught()
	for {
		select {
		case <-p.child.done:
			return p.child.status
		case sig := <-p.child.stopped:
			if jobControl(sig) {
				unix.Kill(unix.Getpid(), unix.SIGSTOP) // until the shell continues the whole group
			}
		case sig := <-signals:
			p.relay(sig.(unix.Signal), waiting)
		}
	}
}

func (p *Process) relay(sig unix.Signal, waiting func() bool) {
	if _, stopped := p.Stopped(); stopped && sig != unix.SIGTSTP && waiting() {
		p.Kill()
		return
	}
	for _, f := range forwarded {
		if f == sig {
			unix.Kill(p.child.pid, sig)
		}
	}
}

func jobControl(sig unix.Signal) bool {
	return sig == unix.SIGTSTP || sig == unix.SIGTTIN || sig == unix.SIGTTOU
}
