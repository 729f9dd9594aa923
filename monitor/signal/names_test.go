package signal

import (
	"encoding/binary"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	for sig := 1; sig <= Max; sig++ {
		name := Name(sig)
		if sig < minRT && name != unix.SignalName(unix.Signal(sig)) {
			t.Errorf("%d is %s, not %s", sig, unix.SignalName(unix.Signal(sig)), name)
		}
		for _, s := range []string{name, strings.ToLower(name), strings.TrimPrefix(name, "SIG")} {
			if n, err := Parse(s); err != nil || n != sig {
				t.Errorf("Parse(%q) = %d, %v", s, n, err)
			}
		}
	}
	for in, want := range map[string]int{"SIGPOLL": 29, "iot": 6, "64": 64, "SIGRTMAX": 64, "RTMIN": 32, "SIGRT_32": 64} {
		if n, err := Parse(in); err != nil || n != want {
			t.Errorf("Parse(%q) = %d, %v", in, n, err)
		}
	}
	for _, in := range []string{"", "0", "65", "-1", "SIG", "SIGRT_", "SIGRT_33", "SIGRT_-1", "SIGSIGINT", "SIGFOO", "9 "} {
		if n, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %d", in, n)
		}
	}
	if got := Of(2, 15, 40).String(); got != "{SIGINT SIGTERM SIGRT_8}" {
		t.Error(got)
	}
}

// TestDefaults sends each signal to a process that has it at its default.
func TestDefaults(t *testing.T) {
	for sig := 1; sig <= Max; sig++ {
		ws := fate(t, sig)
		var ok bool
		switch DefaultOf(sig) {
		case Term, Core: // which of them depends on RLIMIT_CORE too
			ok = ws.Signaled() && ws.Signal() == unix.Signal(sig) && (DefaultOf(sig) == Core || !ws.CoreDump())
		case Ign, Cont:
			ok = ws.Exited() && ws.ExitStatus() == 0
		case Stop:
			ok = ws.Stopped() && ws.StopSignal() == unix.Signal(sig)
		}
		if !ok {
			t.Errorf("%s: wait status %#x", Name(sig), uint32(ws))
		}
	}
}

// fate is the wait status of a process that sends itself sig and would then end well. Its process group is not orphaned:
// that one of the test's is in the same session.
func fate(t *testing.T, sig int) (ws unix.WaitStatus) {
	t.Helper()
	cmd := exec.Command(buildFixture(t, "calls"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	kill := sysCall{Nr: unix.SYS_TGKILL, Arg: [4]uint64{uint64(pid), uint64(pid), uint64(sig)}, Rsp: arenaBase + 2048}
	if err := binary.Write(in, le, &kill); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
	if ws.Stopped() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

func FuzzParse(f *testing.F) {
	f.Add("SIGINT")
	f.Add("SIGRT_7")
	f.Add("12")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err == nil && !Valid(n) || err != nil && n != 0 {
			t.Fatalf("Parse(%q) = %d, %v", s, n, err)
		}
	})
}
