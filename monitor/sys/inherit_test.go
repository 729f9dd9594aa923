package sys

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs f on a host thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// TestAdoptFailsRatherThanKeepsRights: a thread that can't have exactly its maker's credentials is an error.
func TestAdoptFailsRatherThanKeepsRights(t *testing.T) {
	k := newTask(t)
	a, err := Capture(k, ChangedCreds)
	if err != nil {
		t.Fatal(err)
	}
	if err := onThread(a.Adopt); err != nil {
		t.Errorf("the same credentials: %v", err)
	}
	err = onThread(func() error {
		if err := call(unix.SYS_SETRESUID, 65534, 65534, 65534); err != nil && unix.Geteuid() == 0 {
			return nil
		}
		b := *a
		b.creds.uids = [4]uint32{}
		return b.Adopt()
	})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("user 0 by a thread that is not: %v", err)
	}
	err = onThread(func() error { // a capability that the thread does not have
		drop := capSets{}
		if err := capset(&drop); err != nil {
			return nil
		}
		b := *a
		b.creds.caps[0].Permitted, b.creds.caps[0].Effective = 1<<unix.CAP_KILL, 1<<unix.CAP_KILL
		return b.Adopt()
	})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("a capability that is gone: %v", err)
	}
}

func TestResetOnFork(t *testing.T) {
	for _, c := range []struct{ in, want unix.SchedAttr }{
		{unix.SchedAttr{Policy: schedFIFO, Priority: 7}, unix.SchedAttr{Policy: schedFIFO, Priority: 7}},
		{unix.SchedAttr{Policy: schedFIFO, Priority: 7, Flags: schedResetOnFork}, unix.SchedAttr{}},
		{unix.SchedAttr{Policy: schedDeadline, Runtime: 1, Deadline: 2, Period: 3, Flags: schedResetOnFork}, unix.SchedAttr{}},
		{unix.SchedAttr{Nice: -5, Flags: schedResetOnFork}, unix.SchedAttr{}},
		{unix.SchedAttr{Nice: 5, Flags: schedResetOnFork}, unix.SchedAttr{Nice: 5}},
	} {
		if got := ofChild(c.in); got != c.want {
			t.Errorf("%+v becomes %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestChangedBy(t *testing.T) {
	for _, c := range []struct {
		nr   int
		a    [6]uint64
		want Changed
	}{
		{unix.SYS_SETRESUID, [6]uint64{}, ChangedCreds}, {unix.SYS_UNSHARE, [6]uint64{}, ChangedSpaces | ChangedCreds},
		{unix.SYS_PRCTL, [6]uint64{unix.PR_SET_NAME}, 0}, {unix.SYS_PRCTL, [6]uint64{unix.PR_SET_NO_NEW_PRIVS}, ChangedCreds},
		{unix.SYS_PRCTL, [6]uint64{unix.PR_SET_TIMERSLACK}, ChangedFlags},
	} {
		if got := ChangedBy(c.nr, &c.a); got != c.want {
			t.Errorf("call %d %v: %b, want %b", c.nr, c.a, got, c.want)
		}
	}
}
