package live_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGDBInsideSystemCall interrupts a program in read(2), calls a function of it there, and lets it go on: the call
// is restarted as if nothing had been.
func TestGDBInsideSystemCall(t *testing.T) { onEach(t, testGDBInsideSystemCall) }

func testGDBInsideSystemCall(t *testing.T, b backEnd) {
	program := build(t, "blocked.c")
	in, feed := pipe(t)
	out, stdout := pipe(t)
	d := b.serveFiles(t, in, stdout, program)
	in.Close()
	stdout.Close()
	lines := bufio.NewReader(out)

	gdb := d.gdbCommand(t, program, "tbreak main", "continue", "continue", "backtrace", "print $orig_rax", "print (long)$rax",
		"print add(40, 2)", "print $orig_rax", "continue")
	said, gdbOut := pipe(t)
	gdb.Stdout, gdb.Stderr = gdbOut, gdbOut
	if err := gdb.Start(); err != nil {
		t.Fatal(err)
	}
	gdbOut.Close()
	if line, err := lines.ReadString('\n'); line != "waiting\n" {
		t.Fatalf("program says %q, %v", line, err)
	}
	waitForCall(t, d.proc.Info().Pid, unix.SYS_READ)
	gdb.Process.Signal(unix.SIGINT)
	var all bytes.Buffer
	for r := bufio.NewReader(io.TeeReader(said, &all)); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		if strings.HasPrefix(line, "$4 = ") {
			feed.Write([]byte("x"))
		}
	}
	if err := gdb.Wait(); err != nil {
		t.Error(err)
	}
	t.Log(all.String())
	expect(t, all.String(), "SIGINT", "read", "main ()", "$1 = 0", "$2 = -512", "$3 = 42", "$4 = 0", "exited normally")
	if line, err := lines.ReadString('\n'); line != "read 1 'x' add 3\n" {
		t.Errorf("program says %q, %v", line, err)
	}
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

// waitForCall waits until a process's main thread sleeps in a system call (proc_pid_syscall(5)).
func waitForCall(t *testing.T, pid, nr int) {
	t.Helper()
	for t.Context().Err() == nil {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), fmt.Sprintf("%d ", nr)) {
			return
		}
		runtime.Gosched()
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestGDBCatchesSystemCalls stops at each one's entry and return. ptrace's back end has not got it.
func TestGDBCatchesSystemCalls(t *testing.T) {
	program := build(t, "blocked.c", "-static")
	in, feed := pipe(t)
	out, stdout := pipe(t)
	d := backEnd(startVM).serveFiles(t, in, stdout, program)
	stdout.Close()
	feed.Write([]byte("y"))
	said := d.gdb(t, program, "catch syscall read", "continue", "print $rdx", "continue", "print $rax", "catch syscall exit_group", "continue", "delete", "continue")
	expect(t, said, "(call to syscall read)", "$1 = 1", "(returned from syscall read)", "$2 = 1", "(call to syscall exit_group)", "exited normally")
	if text, err := io.ReadAll(out); string(text) != "waiting\nread 1 'y' add 3\n" {
		t.Errorf("program says %q, %v", text, err)
	}
}
