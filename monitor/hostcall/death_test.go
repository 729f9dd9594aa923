package hostcall

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

type deathParams struct {
	Sig     int
	Threads int
	Other   bool // a thread that is not the first does it
	Orphan  bool // in a process group of which nobody could continue it
}

func init() {
	roles["die"] = func() {
		var p deathParams
		params(&p)
		mustInit()
		threads(p.Threads)
		must(unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
		if p.Other {
			go ResetForDeath(p.Sig)
			select {}
		}
		ResetForDeath(p.Sig)
	}
	roles["stop"] = func() {
		var p deathParams
		params(&p)
		mustInit()
		threads(p.Threads)
		if p.Orphan {
			_, err := unix.Setsid()
			must(err)
		} else {
			must(unix.Setpgid(0, 0))
		}
		b, err := New()
		must(err)
		for range 2 {
			StopBy(p.Sig)
			// As before: the signal is blocked, and goes to our handler where it is open.
			must2(send(int(getpid()), int(gettid()), p.Sig, 9))
			r := num(b.Call(bit(unix.SIGCONT), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0))
			info, ok := b.Signal()
			if r != -513 || !ok || signo(&info) != p.Sig || head(&info).value != 9 {
				fail("after the stop:", r, ok, describe(&info))
			}
			reply("continued")
			if _, err := os.Stdin.Read(make([]byte, 1)); err != nil { // the parent has seen it
				fail(err)
			}
		}
	}
}

func must2(e unix.Errno) {
	if e != 0 {
		fail(e)
	}
}

func TestDeath(t *testing.T) {
	exe := withEntry(t)
	for sig := 1; sig <= numSignals; sig++ {
		switch unix.Signal(sig) {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGURG, unix.SIGWINCH:
			continue
		}
		cmd := command(t, exe, "die", deathParams{Sig: sig, Threads: sig % 3, Other: sig%2 == 0})
		cmd.Run()
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ws.Signaled() || int(ws.Signal()) != sig || ws.CoreDump() {
			t.Errorf("signal %d: exited %v, signal %v, core %v", sig, ws.Exited(), ws.Signal(), ws.CoreDump())
		}
	}
	cmd := command(t, exe, "die", deathParams{Sig: int(unix.SIGURG)})
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 128+int(unix.SIGURG) {
		t.Errorf("a signal that does not kill: exit status %d", got)
	}
}

func TestStop(t *testing.T) {
	exe := withEntry(t)
	for _, sig := range []unix.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := command(t, exe, "stop", deathParams{Sig: int(sig), Threads: 50})
			said, in := start(t, cmd)
			for range 2 {
				var ws unix.WaitStatus
				if _, err := unix.Wait4(cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() || ws.StopSignal() != sig {
					t.Fatalf("%v: stopped %v by %v", err, ws.Stopped(), ws.StopSignal())
				}
				if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
					t.Fatal(err)
				}
				if _, err := unix.Wait4(cmd.Process.Pid, &ws, unix.WCONTINUED, nil); err != nil || !ws.Continued() {
					t.Fatalf("%v: %#x", err, ws)
				}
				if !said.Scan() {
					t.Fatal("said nothing")
				}
				in.Write([]byte{1})
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("orphaned", func(t *testing.T) { // the kernel does not stop it
		cmd := command(t, exe, "stop", deathParams{Sig: int(unix.SIGTSTP), Orphan: true})
		said, in := start(t, cmd)
		for range 2 {
			if !said.Scan() {
				t.Fatal("said nothing")
			}
			in.Write([]byte{1})
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// start starts a process that is spoken to: what it says, and what it is told.
func start(t *testing.T, cmd *exec.Cmd) (*bufio.Scanner, io.Writer) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(out), in
}

func TestDispositions(t *testing.T) {
	b := payload(t)
	defer func() {
		for _, sig := range []unix.Signal{unix.SIGCHLD, unix.SIGUSR1} {
			if err := SetDisposition(int(sig), false, 0); err != nil {
				t.Error(err)
			}
		}
	}()
	tid := unix.Gettid()

	// Ignoring drops what is pending; a handler afterwards gets what comes.
	send(int(getpid()), tid, int(unix.SIGUSR1), 1)
	if err := SetDisposition(int(unix.SIGUSR1), true, 0); err != nil {
		t.Fatal(err)
	}
	if info, ok := Dequeue(bit(unix.SIGUSR1)); ok {
		t.Errorf("still pending: %s", describe(&info))
	}
	if err := SetDisposition(int(unix.SIGUSR1), false, 0); err != nil {
		t.Fatal(err)
	}
	send(int(getpid()), tid, int(unix.SIGUSR1), 2)
	if r := b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != -513 {
		t.Errorf("call: %d", num(r))
	}
	if info, ok := b.Signal(); !ok || head(&info).value != 2 {
		t.Errorf("%v %s", ok, describe(&info))
	}

	// An ignored SIGCHLD leaves no zombies, nor does SA_NOCLDWAIT.
	for _, c := range []struct {
		ignore bool
		flags  uint64
		want   error
	}{{true, 0, unix.ECHILD}, {false, saNocldwait, unix.ECHILD}, {false, 0, nil}} {
		if err := SetDisposition(int(unix.SIGCHLD), c.ignore, c.flags); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Wait4(cmd.Process.Pid, nil, 0, nil); err != c.want {
			t.Errorf("%+v: wait gives %v", c, err)
		}
		cmd.Process.Release()
	}
	for _, sig := range []int{0, -1, 65, int(unix.SIGKILL), int(unix.SIGSTOP)} {
		if err := SetDisposition(sig, true, 0); err != unix.EINVAL {
			t.Errorf("signal %d: %v", sig, err)
		}
	}
	// The monitor's own needs come first.
	for _, sig := range append(faultSignals(), unix.SIGSTKFLT) {
		if err := SetDisposition(int(sig), true, 0); err != nil {
			t.Error(err)
		}
		defer SetDisposition(int(sig), false, 0)
	}
	if n := CopyIn(make([]byte, 1), 0); n != 0 {
		t.Error(n)
	}
	Kick(tid)
	if r := b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != -513 {
		t.Error(fmt.Sprint("kick: ", num(r)))
	}
	b.Signal()
}
