package live_test

import (
	"bufio"
	"regexp"
	"strconv"
	"testing"
)

// TestGDBVanishes: gdb is killed while the program runs, or while it hits a breakpoint with a false condition thousands
// of times. The program goes on, no breakpoint is left in it, and the next gdb finds it.
func TestGDBVanishes(t *testing.T) { onEach(t, testGDBVanishes) }

func testGDBVanishes(t *testing.T, b backEnd) {
	program := build(t, "spin.c")
	for name, commands := range map[string][]string{
		"running":  {"continue"},
		"stopping": {"break 8 if counter == -1", "continue"},
	} {
		t.Run(name, func(t *testing.T) {
			out, stdout := pipe(t)
			d := b.serveFiles(t, nil, stdout, program, "tell")
			stdout.Close()
			gdb := d.gdbCommand(t, program, commands...)
			if err := gdb.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "spinning\n" {
				t.Fatalf("program says %q, %v", line, err)
			}
			gdb.Process.Kill()
			gdb.Wait()
			last := -1
			for range 2 {
				now := counter(t, d.gdb(t, program, "print counter", "detach"))
				if now <= last {
					t.Errorf("the program counts %d after %d: it does not run", now, last)
				}
				last = now
			}
			d.gdb(t, program, "kill")
			if err := <-d.done; err != nil {
				t.Error(err)
			}
		})
	}
}

func counter(t *testing.T, out string) int {
	t.Helper()
	m := regexp.MustCompile(`\$1 = (\d+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatal("gdb prints no counter")
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
