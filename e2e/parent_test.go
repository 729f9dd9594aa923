package e2e

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// family is a payload with a child, a child of a child, one that has executed something else, and one whose parent has ended. Each
// says its pid.
const family = `
echo $$
sleep 1000 & echo $!
( echo $BASHPID; sleep 1000 & echo $!; wait ) &
( sleep 1000 & echo $! )
( exec /usr/bin/env --ignore-signal=HUP sleep 1000 ) & echo $!
wait
`

// startFamily has a shell that starts kmdev run with the payload, and returns the pids of the tree.
func startFamily(t *testing.T, options ...string) (parent *exec.Cmd, pidfds []int) {
	t.Helper()
	line := kmdev + " run " + strings.Join(options, " ") + " /bin/bash -c '" + family + "' </dev/null & read line"
	parent = exec.Command("/bin/sh", "-c", line)
	in, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for len(pidfds) < 6 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("payload says %q", lines.Text())
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("process %d of the payload: %v", pid, err)
		}
		t.Cleanup(func() {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		})
		pidfds = append(pidfds, fd)
	}
	if len(pidfds) != 6 {
		t.Fatalf("the payload has told of %d processes", len(pidfds))
	}
	return parent, pidfds
}

// ended waits until a process has ended; false if it has not when the time is up.
func ended(pidfd int, wait time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
	return n == 1
}

// TestDieWithParent: the whole tree ends with kmdev's parent, whatever the way in which its processes are related.
func TestDieWithParent(t *testing.T) {
	t.Run("alone", func(t *testing.T) { dieWithParent(t) })
	t.Run("supervised", func(t *testing.T) { dieWithParent(t, "--gdb-listen", "-g0") })
}

func dieWithParent(t *testing.T, options ...string) {
	t.Helper()
	parent, tree := startFamily(t, append(options, "--die-with-parent")...)
	for i, fd := range tree {
		if ended(fd, 0) {
			t.Errorf("process %d has ended before its time", i)
		}
	}
	parent.Process.Kill()
	parent.Wait()
	for i, fd := range tree {
		if !ended(fd, time.Minute) {
			t.Errorf("process %d outlives kmdev's parent", i)
		}
	}
}

// TestOutliveParent: without the option they live on, as on Linux.
func TestOutliveParent(t *testing.T) {
	parent, tree := startFamily(t)
	parent.Process.Kill()
	parent.Wait()
	for i, fd := range tree {
		if ended(fd, 200*time.Millisecond/time.Duration(len(tree))) {
			t.Errorf("process %d has ended with kmdev's parent", i)
		}
	}
}
