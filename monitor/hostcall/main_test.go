package hostcall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVar names what this binary does in place of tests, as a process that a test has started.
const roleVar = "HOSTCALL_ROLE"

var roles = map[string]func(){}

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if role, ok := os.LookupEnv(roleVar); ok {
		roles[role]()
		os.Exit(0)
	}
	mustInit()
	os.Exit(m.Run())
}

func mustInit() {
	if err := Init(); err != nil {
		fail(err)
	}
}

// fail ends a role.
func fail(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(3)
}

// must ends a role on an error.
func must(err error) {
	if err != nil {
		fail(err)
	}
}

// reply is how a role answers.
func reply(v any) { must(json.NewEncoder(os.Stdout).Encode(v)) }

// startModes are the two ways for a monitor to start: its path by name.
func startModes(t testing.TB) map[string]string {
	t.Helper()
	modes := map[string]string{"entry": withEntry(t), "again": withoutEntry(t)}
	if exe, err := os.Readlink("/proc/self/exe"); err == nil && exe == modes["again"] {
		delete(modes, "again") // go test -ldflags='-E kmdev_rt0'
	}
	return modes
}

// withoutEntry is this test binary as the linker made it.
func withoutEntry(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withEntry is a file with this test binary as if linked with -E kmdev_rt0: it is running as such a copy.
func withEntry(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "with-entry")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// command is a process of ours in a role, with parameters in its environment.
func command(t testing.TB, exe, role string, params any) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVar+"="+role, paramsVar+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

const paramsVar = "HOSTCALL_PARAMS"

// params reads what command was given.
func params(v any) { must(json.Unmarshal([]byte(os.Getenv(paramsVar)), v)) }

// run runs a command to its end and decodes what it replied.
func run(t testing.TB, cmd *exec.Cmd, v any) {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Path, err, out)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more than one reply: %q", out)
	}
}

// payload makes the calling test's thread a payload thread.
func payload(t testing.TB) *Block {
	t.Helper()
	runtime.LockOSThread()
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Free()
		runtime.UnlockOSThread()
	})
	return b
}

// queued is a siginfo as sigqueue(3) makes it.
func queued(sig int, value uint64) *[128]byte {
	var info [128]byte
	*head(&info) = siginfo{signo: int32(sig), code: siQueue, pid: int32(os.Getpid()), uid: 7, value: value}
	return &info
}

// notUnderRace skips what does not hold with the race detector: that needs cgo, and glibc keeps signals 32 and 33 open
// in its threads; and it instruments the way from assembly into handle, for which a thread of the runtime's own has no
// goroutine.
func notUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("not under the race detector")
	}
}

// send queues a signal to a thread of any process.
func send(pid, tid int, sig int, value uint64) unix.Errno {
	return sendInfo(pid, tid, sig, queued(sig, value))
}

func bit(sig unix.Signal) uint64 { return 1 << (sig - 1) }

// quiet is the mask for calls that are to be ended by what a test sends alone: children of other tests end, too.
const quiet = uint64(1) << (unix.SIGCHLD - 1)

func num(r uintptr) int { return int(r) }

func describe(info *[128]byte) string { return fmt.Sprintf("%+v", *head(info)) }
