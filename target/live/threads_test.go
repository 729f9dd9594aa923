package live_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestGDBManyThreads: 100 threads, each with its own stack and thread-local variable, and none of their breakpoint hits lost.
func TestGDBManyThreads(t *testing.T) { onEach(t, testGDBManyThreads) }

func testGDBManyThreads(t *testing.T, b backEnd) {
	const n = 100
	program := build(t, "threads.c", "-pthread")
	d := b.serve(t, program, fmt.Sprint(n))
	commands := []string{"break ready", "continue", "info threads", "thread apply all print slot", "thread apply all backtrace 1",
		"break hit", "ignore 2 1000000", "continue", "info breakpoints"}
	out := d.gdb(t, program, commands...)
	expect(t, out, "hit Breakpoint 1, ready ()", "exited normally", "already hit 300 times")
	if got := len(regexp.MustCompile(`(?m)^[* ] *\d+ +Thread `).FindAllString(out, -1)); got != n+1 {
		t.Errorf("info threads lists %d threads, want %d", got, n+1)
	}
	for i := range n {
		if !strings.Contains(out, fmt.Sprintf(" = %d\n", i)) {
			t.Errorf("no thread has slot %d", i)
		}
	}
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

// TestGDBThreadSteps: one thread steps while the others run, and with the others locked.
func TestGDBThreadSteps(t *testing.T) { onEach(t, testGDBThreadSteps) }

func testGDBThreadSteps(t *testing.T, b backEnd) {
	program := build(t, "threads.c", "-pthread")
	d := b.serve(t, program, "8")
	out := d.gdb(t, program, "break hit", "continue", "next", "next", "set scheduler-locking on", "stepi", "stepi", "next",
		"set scheduler-locking off", "print slot", "thread 1", "print slot", "delete", "continue")
	expect(t, out, "hit Breakpoint 1, hit", "= 1000", "exited normally")
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}
