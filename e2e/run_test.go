package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every run: longer than any program here takes on a busy
// machine, so reaching it means that the program hangs.
const patience = 60 * time.Second

// command is a program to run, natively or under kmdev.
type command struct {
	argv  []string
	env   []string // the whole environment; nil: PATH, HOME, LANG and FIXTURE only
	stdin string
	dir   string
	limit time.Duration // instead of patience, for what works long
}

// result is what can be seen of a finished program from outside.
type result struct {
	Stdout, Stderr string
	Status         string // "exit 3" or "signal 11"
}

// native runs c as it is.
func (c command) native(t *testing.T) result {
	t.Helper()
	return c.run(t)
}

// underKmdev runs c in a VM: `kmdev run [flags] -- argv`.
func (c command) underKmdev(t *testing.T, flags ...string) result {
	t.Helper()
	argv := append([]string{kmdev, "run"}, flags...)
	c.argv = append(append(argv, "--"), c.argv...)
	return c.run(t)
}

func (c command) run(t *testing.T) result {
	t.Helper()
	return c.runWith(t)
}

// runWith runs c with open files as descriptors 3, 4 …
func (c command) runWith(t *testing.T, files ...*os.File) result {
	t.Helper()
	limit := max(c.limit, patience)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Stdin = strings.NewReader(c.stdin)
	cmd.Env, cmd.Dir = c.environment(), c.dir
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s hangs (%v); output so far:\n%s%s", strings.Join(c.argv, " "), limit, tail(stdout.String()), tail(stderr.String()))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(c.argv, " "), err)
	}
	return result{stdout.String(), stderr.String(), status(cmd.ProcessState)}
}

func (c command) environment() []string {
	if c.env != nil {
		return c.env
	}
	return []string{"FIXTURE=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
}

func status(state *os.ProcessState) string {
	ws := state.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return fmt.Sprintf("signal %d", ws.Signal())
	}
	return fmt.Sprintf("exit %d", ws.ExitStatus())
}

func tail(s string) string {
	if len(s) > 4000 {
		return "…" + s[len(s)-4000:]
	}
	return s
}

// wantEqual fails the test if a run under kmdev differs from the native one,
// naming the first line that does.
func wantEqual(t *testing.T, native, got result) {
	t.Helper()
	if got.Status != native.Status {
		t.Errorf("ended with %s, natively with %s", got.Status, native.Status)
	}
	diffLines(t, "stdout", native.Stdout, got.Stdout)
	diffLines(t, "stderr", native.Stderr, got.Stderr)
	if t.Failed() && got.Stderr != native.Stderr {
		t.Logf("stderr under kmdev:\n%s", tail(got.Stderr))
	}
}

func diffLines(t *testing.T, stream, native, got string) {
	t.Helper()
	if native == got {
		return
	}
	want, have := strings.Split(native, "\n"), strings.Split(got, "\n")
	const most = 12
	shown := 0
	for i := 0; i < max(len(want), len(have)) && shown < most; i++ {
		w, h := at(want, i), at(have, i)
		if w != h {
			t.Errorf("%s line %d:\n\tnative %s\n\tkmdev  %s", stream, i+1, w, h)
			shown++
		}
	}
}

func at(lines []string, i int) string {
	if i >= len(lines) {
		return "(nothing)"
	}
	return fmt.Sprintf("%q", lines[i])
}
