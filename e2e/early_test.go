package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kmdev/fixtures"
)

// TestEarlyVM: the entry makes the VM of a plain `kmdev run`. Where it can't, or for another device, the monitor does, and
// the payload sees no difference.
func TestEarlyVM(t *testing.T) {
	hello := fixtures.Build(t, "hello", fixtures.GlibcStatic)
	want, err := exec.Command(hello).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		shell string // runs "$@"
		flags string
		early int
	}{
		{"plain", `exec "$@"`, "", 1},
		{"same device by name", `exec "$@"`, "--virt-device=/dev/kvm", 1},
		{"device by another name", `exec "$@"`, "--virt-device=/dev/./kvm", 0},
		{"stdin closed", `exec "$@" <&-`, "", 0},
		{"stderr closed", `exec "$@" 2>&-`, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats := filepath.Join(t.TempDir(), "stats")
			argv := []string{"-c", c.shell, "sh", kmdev, "run", "--stats=" + stats}
			if c.flags != "" {
				argv = append(argv, c.flags)
			}
			out, err := exec.Command("sh", append(argv, hello)...).CombinedOutput()
			if err != nil || string(out) != string(want) {
				t.Fatalf("%v: %q", err, out)
			}
			line, err := os.ReadFile(stats)
			if err != nil {
				t.Fatal(err)
			}
			if got := counter(t, string(line), "early"); got != c.early {
				t.Errorf("early=%d, want %d", got, c.early)
			}
		})
	}
}

// TestNonBlockingStdin: package os starts Go's poller for a standard file that does not block.
func TestNonBlockingStdin(t *testing.T) {
	hello := fixtures.Build(t, "hello", fixtures.GlibcStatic)
	const nonblock = `import os,sys;r,w=os.pipe();os.set_blocking(r,False);os.dup2(r,0);os.execv(sys.argv[1],sys.argv[1:])`
	out, err := exec.Command("python3", "-c", nonblock, kmdev, "run", hello).CombinedOutput()
	want, _ := exec.Command(hello).Output()
	if err != nil || string(out) != string(want) {
		t.Fatal(fmt.Errorf("%w: %q", err, out))
	}
}

// TestTimerSlack: the entry lengthens the timer slack for Go's own thread; the payload's is what kmdev was started with.
func TestTimerSlack(t *testing.T) {
	const slack = `import ctypes,os,sys;ctypes.CDLL(None).prctl(29,70000,0,0,0);os.execvp(sys.argv[1],sys.argv[1:])`
	const tell = `import ctypes,threading
f=lambda:print(ctypes.CDLL(None).prctl(30,0,0,0,0))
f();t=threading.Thread(target=f);t.start();t.join()`
	out, err := exec.Command("python3", "-c", slack, kmdev, "run", "/usr/bin/python3", "-c", tell).CombinedOutput()
	if err != nil || string(out) != "70000\n70000\n" {
		t.Fatalf("%v: %q", err, out)
	}
}
