package hostcall

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

type pollerReport struct {
	Bound int
	Low   []string // descriptors below it, but for the standard files, and what they are
	Polls bool
}

func init() {
	roles["poller"] = func() {
		mustInit()
		r := pollerReport{Bound: FDBound()}
		list, err := os.ReadDir("/proc/self/fd")
		must(err)
		for _, e := range list {
			fd, err := strconv.Atoi(e.Name())
			must(err)
			link := linkOf(fd)
			if fd > 2 && fd < r.Bound && link != "" && !strings.HasSuffix(link, "/fd") {
				r.Low = append(r.Low, e.Name()+" "+link)
			}
		}
		r.Polls = polls()
		reply(r)
	}
}

// polls has the runtime's poller wake a sleeping reader, a timer, and a reader whose time is up.
func polls() bool {
	in, out, err := os.Pipe()
	must(err)
	got := make(chan error)
	go func() {
		_, err := in.Read(make([]byte, 1))
		got <- err
		must(in.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err = in.Read(make([]byte, 1))
		got <- err
	}()
	time.Sleep(time.Millisecond)
	_, err = out.Write([]byte{1})
	must(err)
	return <-got == nil && os.IsTimeout(<-got)
}

// A monitor has no descriptor in the payload's range, and the runtime's poller works where it is.
func TestPollerIsOutOfTheWay(t *testing.T) {
	for mode, exe := range startModes(t) {
		t.Run(mode, func(t *testing.T) {
			var r pollerReport
			l := launch{Exe: exe, Args: []string{"x"}, Env: []string{roleVar + "=poller"}, Soft: 1024, Hard: 4096}
			run(t, command(t, exe, "launch", l), &r)
			if r.Bound < 3 || len(r.Low) != 0 || !r.Polls {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The runtime's threads come and go while the poller moves: whoever polls has a descriptor that is open.
func TestPollerMoves(t *testing.T) {
	exe := withEntry(t)
	for range 50 {
		var r pollerReport
		run(t, command(t, exe, "poller", nil), &r)
	}
}

// TestDivisionIsInherited: a monitor that goes on for another divides descriptors as that one did, whatever its own limits.
func TestDivisionIsInherited(t *testing.T) {
	for entry, want := range map[string]func(int) bool{
		stateName + "3e8,":  func(n int) bool { return n == 1000 },
		stateName + "1000,": func(n int) bool { return n != 0x1000 }, // no room above: the hard limit is lower now
		stateName + "0,":    func(n int) bool { return n >= 1024 },
		stateName + "3x8,":  func(n int) bool { return n >= 1024 },
	} {
		var r pollerReport
		exe := withEntry(t)
		l := launch{Exe: exe, Args: []string{"x"}, Env: []string{entry, roleVar + "=poller"}, Soft: 1024, Hard: 4096}
		run(t, command(t, exe, "launch", l), &r)
		if !want(r.Bound) || !r.Polls || len(r.Low) != 0 {
			t.Errorf("%s: %+v", entry, r)
		}
	}
}
