package monitor

import (
	"errors"
	"fmt"

	"kmdev/monitor/hostcall"

	"golang.org/x/sys/unix"
)

// openParent opens the process that every monitor of the tree is to die with: the parent of the first one.
func (m *Machine) openParent() error {
	pid := unix.Getppid()
	if pid == 0 {
		return errors.New("--die-with-parent: the parent is in another pid namespace, where it can't be watched")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("--die-with-parent: pidfd_open of %d: %w (it needs Linux 5.3)", pid, err)
	}
	if unix.Getppid() != pid { // the pid may be another's by now
		unix.Kill(unix.Getpid(), unix.SIGKILL)
	}
	m.parentFD, err = m.fds.Keep(fd)
	return err
}

// watchParent ends this process when that one has ended. PR_SET_PDEATHSIG would not do: it is the payload's own, it goes by the
// parent's thread, and the parent of a process further down the tree may end while the tree lives.
func (m *Machine) watchParent() {
	if m.parentFD < 0 {
		return
	}
	fd := m.parentFD
	growProcs(1)
	go func() {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if n, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR || n > 0 {
				hostcall.Raw(unix.SYS_KILL, uintptr(m.pid), uintptr(unix.SIGKILL), 0, 0, 0, 0)
			}
		}
	}()
}
