package live

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// child is a monitor that this process started.
type child struct {
	pid     int
	done    chan struct{}
	status  target.WaitStatus
	stopped chan unix.Signal // signals that stopped it, for job control; never blocks
}

// wait waits for its end.
func (c *child) wait() target.WaitStatus {
	<-c.done
	return c.status
}

// reap waits for the child's stops and its end.
func (c *child) reap() {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(c.pid, &ws, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			c.status = target.WaitStatus(unix.SIGKILL) // reaped by somebody else: nothing is known
		case ws.Stopped():
			select {
			case c.stopped <- ws.StopSignal():
			default:
			}
			continue
		default:
			c.status = target.WaitStatus(ws)
		}
		close(c.done)
		return
	}
}

// Start runs a monitor as a child with a debug channel, and waits until it says hello. Its standard files must be
// *os.File or nil. The channel's descriptor is announced in its environment (debug.EnvFD); everything else of cmd is the caller's.
func Start(cmd *exec.Cmd) (*Process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("debug channel: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "debug channel (monitor)")
	defer theirs.Close()
	unix.SetNonblock(fds[0], true)
	ours := os.NewFile(uintptr(fds[0]), "debug channel")

	const firstExtra = 3
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", debug.EnvFD, firstExtra+len(cmd.ExtraFiles)-1))
	c := &child{done: make(chan struct{}), stopped: make(chan unix.Signal, 1)}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	theirs.Close() // so that the child's end is the channel's end
	c.pid = cmd.Process.Pid
	go c.reap()
	p, err := open(ours, c)
	if err != nil {
		return nil, c.failed(err)
	}
	go func() {
		<-c.done // whoever else holds the channel's other end, it has no meaning any more
		p.client.Close()
	}()
	return p, nil
}

// ExitError is a monitor that ended before it said hello: it has told the user why on standard error.
type ExitError struct {
	Status target.WaitStatus
}

func (e *ExitError) Error() string {
	if sig, ok := e.Status.Signaled(); ok {
		return fmt.Sprintf("the monitor died by signal %d (%s) before the program started", sig, unix.SignalName(unix.Signal(sig)))
	}
	code, _ := e.Status.Exited()
	return fmt.Sprintf("the monitor ended with status %d before the program started", code)
}

// failed ends a child that did not say hello.
func (c *child) failed(err error) error {
	if err == debug.ErrClosed {
		return &ExitError{c.wait()}
	}
	unix.Kill(c.pid, unix.SIGKILL)
	c.wait()
	return err
}
