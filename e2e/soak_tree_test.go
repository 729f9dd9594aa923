package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// soakSeconds is how long TestSoakTree runs: SOAK_SECONDS (make soak), a sample under make test-full, 0 otherwise.
func soakSeconds(t *testing.T) int {
	if text := os.Getenv("SOAK_SECONDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 15 {
			t.Fatalf("SOAK_SECONDS=%s: want a number of seconds, 15 at least", text)
		}
		return n
	}
	return soak(60, 0)
}

// soakLoad is one payload of the soak, with all its descendants.
type soakLoad struct {
	name string
	argv []string
	cmd  *exec.Cmd
	out  strings.Builder
	done chan error
	sums []summary // of each sample: the tree's
}

// soakStressors are the ones that exercise what a monitor does for a process. Their memory is bounded, or two CPUs would be busy
// with zeroing pages.
var soakStressors = strings.Fields("--fork 1 --vfork 1 --clone 1 --clone-max 32 --mmap 1 --mmap-bytes 16M --mremap 1 --mremap-bytes 8M " +
	"--brk 1 --madvise 1 --futex 1 --sigq 1 --sigsegv 1 --verify")

// forkingShell makes a pipe of three processes a round, and checks what comes through, until the file $1 exists.
const forkingShell = `n=0
while [ ! -e "$1" ]; do
	n=$((n+1))
	got=$(echo "round $n" | tr a-z A-Z | cat)
	[ "$got" = "ROUND $n" ] || { echo "round $n: $got" >&2; exit 1; }
done
echo "$n rounds"`

// TestSoakTree runs trees of processes at once for long: stress-ng, redis under load with BGSAVE, a shell that forks. None may
// fail, the monitors that live throughout may not grow, nothing may be left behind.
func TestSoakTree(t *testing.T) {
	seconds := soakSeconds(t)
	if seconds == 0 {
		t.Skip("make soak, or make test-full for a minute of it")
	}
	length := time.Duration(seconds) * time.Second
	dir := t.TempDir()
	stop, socket := filepath.Join(dir, "stop"), filepath.Join(dir, "redis")
	before := takeStock(t)
	redis := &soakLoad{name: "redis", argv: []string{"redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", ""}}
	shell := &soakLoad{name: "shell", argv: []string{"sh", "-c", forkingShell, "sh", stop}}
	stress := &soakLoad{name: "stress-ng", argv: append([]string{"stress-ng", "--timeout", strconv.Itoa(seconds), "--temp-path", dir}, soakStressors...)}
	loads := []*soakLoad{redis, shell, stress}
	deadline, cancel := context.WithTimeout(t.Context(), length+3*time.Minute)
	defer cancel()
	for _, l := range loads {
		l.start(t, deadline)
	}
	client, end := make(chan error, 1), make(chan struct{})
	go func() { client <- redisLoad(socket, end) }()

	series := newSeries()
	watch(t, length, loads, client, series)

	close(end)
	if err := <-client; err != nil {
		t.Errorf("redis: %v", err)
	}
	if err := os.WriteFile(stop, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		l.finish(t, deadline)
	}
	series.verdict(t)
	for _, l := range loads {
		l.verdict(t)
	}
	before.compare(t, takeStock(t))
}

func (l *soakLoad) start(t *testing.T, ctx context.Context) {
	t.Helper()
	// --die-with-parent: a test that fails leaves nothing behind.
	l.cmd = exec.CommandContext(ctx, kmdev, append([]string{"run", "--die-with-parent", "--"}, l.argv...)...)
	l.cmd.Dir = t.TempDir()
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	l.cmd.WaitDelay = 10 * time.Second
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.done = make(chan error, 1)
	go func() { l.done <- l.cmd.Wait() }()
}

// watch takes samples until the time is up. A load that ends before is a failure.
func watch(t *testing.T, length time.Duration, loads []*soakLoad, client chan error, s *series) {
	t.Helper()
	tick := time.NewTicker(max(length/180, time.Second))
	defer tick.Stop()
	over := time.After(length - 2*time.Second) // stress-ng ends by itself
	for {
		for _, l := range loads {
			l.sums = append(l.sums, s.sample(l.name, l.cmd.Process.Pid))
			select {
			case err := <-l.done:
				t.Fatalf("%s has ended: %v\n%s", l.name, err, ends(l.out.String()))
			default:
			}
		}
		s.round++
		select {
		case err := <-client:
			t.Fatalf("redis's client has ended: %v", err)
		case <-over:
			return
		case <-tick.C:
		}
	}
}

// finish waits for the end of a load that has been told to end, and reads what it has to say about itself.
func (l *soakLoad) finish(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case err := <-l.done:
		if err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
	case <-ctx.Done():
		t.Errorf("%s did not end: %v", l.name, errors.Join(ctx.Err(), <-l.done))
	}
	for line := range strings.Lines(l.out.String()) {
		for _, bad := range []string{"kmdev:", "fatal error:", "fail:", "panic:"} {
			if strings.Contains(line, bad) {
				t.Errorf("%s: %s", l.name, strings.TrimSpace(line))
				break
			}
		}
	}
	if t.Failed() {
		t.Logf("%s:\n%s", l.name, ends(l.out.String()))
	}
}

// verdict says how the tree as a whole went.
func (l *soakLoad) verdict(t *testing.T) {
	var processes, pss int
	for _, s := range l.sums {
		processes, pss = max(processes, s.processes), max(pss, s.pss)
	}
	last := ""
	if lines := strings.Split(strings.TrimSpace(l.out.String()), "\n"); len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	t.Logf("%s: %d processes and %d KiB (PSS) at most; %s", l.name, processes, pss, last)
}

// ends is a long text's beginning and end: a crash says there what it was, and the payload what became of it.
func ends(text string) string {
	const head = 4000
	if len(text) < 2*head {
		return text
	}
	return text[:head] + "\n…\n" + tail(text[head:])
}
