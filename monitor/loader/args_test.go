package loader

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// verdictOf is what Open makes of a call, in the terms of execNative.
func verdictOf(t testing.TB, path string, argv, env []string) verdict {
	t.Helper()
	p, err := Open(path, argv, env, Options{})
	if err == nil {
		p.Close()
		return verdict{}
	}
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("%T instead of *Error: %v", err, err)
	}
	return verdict{e.Errno, e.Fatal}
}

// withStackLimit sets the soft RLIMIT_STACK of the test process, which children inherit, for the time of do.
func withStackLimit(t *testing.T, limit uint64, do func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &old); err != nil {
		t.Fatal(err)
	}
	if limit > old.Max {
		t.Skipf("the hard limit of the stack is %d", old.Max)
	}
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_STACK, &old); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// TestArgumentLimits finds each limit to the byte, here and natively. A full stack of 64 KiB passes this stage of execve; the
// kernel kills the process at the next.
func TestArgumentLimits(t *testing.T) {
	path := executable(t, string(tinyELF().bytes()))
	script := executable(t, "#!"+path+" arg\n")
	one := strings.Repeat("x", maxArgStrlen-1)
	for _, c := range []struct {
		name   string
		limit  uint64 // RLIMIT_STACK
		budget int
	}{
		{"the stack itself", 64 << 10, 64 << 10},
		{"ARG_MAX at least", 256 << 10, argMax},
		{"a quarter of the stack", 1 << 20, 256 << 10},
		{"a quarter of 8 MiB", 8 << 20, 2 << 20},
		{"6 MiB at most", 64 << 20, maxArgStrings},
		{"unlimited", unix.RLIM_INFINITY, maxArgStrings},
	} {
		t.Run(c.name, func(t *testing.T) {
			withStackLimit(t, c.limit, func() {
				for name, file := range map[string]string{"program": path, "script": script} {
					args := func(over int) []string { return fill(c.budget-len(file)-1+over, one) }
					theirs := boundary(func(over int) bool { return execNative(t, file, args(over), nil, nil).errno == 0 })
					ours := boundary(func(over int) bool { return verdictOf(t, file, args(over), nil).errno == 0 })
					if ours != theirs || name == "program" && ours != 0 {
						t.Errorf("%s: kernel takes %d bytes more than the limit, ours %d", name, theirs, ours)
					}
				}
			})
		})
	}
	t.Run("one string", func(t *testing.T) {
		same(t, "longest", path, []string{one}, []string{one})
		same(t, "too long argument", path, []string{one + "x"}, nil)
		same(t, "too long variable", path, nil, []string{one + "x"})
	})
	t.Run("pointers alone", func(t *testing.T) {
		same(t, "many empty", path, make([]string, 233016), nil)
		same(t, "too many empty", path, make([]string, 262144), nil)
	})
	t.Run("NUL", func(t *testing.T) {
		if v := verdictOf(t, path, []string{"a\x00b"}, nil); v.errno != unix.EINVAL {
			t.Errorf("an argument with a NUL: %v, want EINVAL", v)
		}
	})
}

// boundary gives the largest number at which ok holds, from -1000 to 100; it holds below and not above.
func boundary(ok func(int) bool) int {
	return sort.Search(1100, func(i int) bool { return !ok(i - 1000) }) - 1001
}

// fill makes an argument list that takes size bytes of strings and pointers.
func fill(size int, one string) []string {
	var argv []string
	for size > len(one)+9 {
		argv = append(argv, one)
		size -= len(one) + 9
	}
	if size >= 9 {
		argv = append(argv, one[:size-9])
	}
	return argv
}

func same(t *testing.T, what, path string, argv, env []string) {
	t.Helper()
	if ours, theirs := verdictOf(t, path, argv, env), execNative(t, path, argv, env, nil); ours != theirs {
		t.Errorf("%s: kernel %v, ours %v", what, theirs, ours)
	}
}

// TestLargeArguments loads a program with the most arguments that fit, byte for byte as the kernel does.
func TestLargeArguments(t *testing.T) {
	path := executable(t, string(tinyELF().bytes()))
	one := strings.Repeat("x", maxArgStrlen-1)
	withStackLimit(t, 64<<20, func() {
		argv := fill(maxArgStrings-len(path)-1, one)
		o := load(t, path, argv, nil)
		if v := execNative(t, path, argv, nil, func(n *native) { compare(t, n, o) }); v != (verdict{}) {
			t.Errorf("natively: %v", v)
		}
		if size := o.start.StackTop - o.start.StackPointer; size > MaxStackImage {
			t.Errorf("the stack image has %d bytes, more than MaxStackImage", size)
		}
	})
}

// atProgram does execveat(DIR, NAME, {"zero"}, FLAGS), with DIR opened close-on-exec if CLOEXEC is 1, and prints a failure.
const atProgram = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
	int fd = open(argv[1], O_PATH | (atoi(argv[4]) ? O_CLOEXEC : 0));
	char *args[] = {"zero", NULL}, *env[] = {"LD_SHOW_AUXV=1", NULL};
	dup3(fd, 100, atoi(argv[4]) ? O_CLOEXEC : 0);
	close(fd);
	syscall(SYS_execveat, 100, argv[2], args, env, atoi(argv[3]));
	printf("errno %d\n", errno);
}`

func TestExecveat(t *testing.T) {
	dir := t.TempDir()
	src, caller := filepath.Join(dir, "at.c"), filepath.Join(dir, "at")
	writeFile(t, src, []byte(atProgram), 0o644)
	if msg, err := exec.Command("gcc", "-o", caller, src).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	scriptPath := writeFile(t, filepath.Join(dir, "s"), []byte("#!/bin/echo argument\n"), 0o755)
	if err := os.Symlink("/bin/true", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir, file string
		flags           int
		cloexec         bool
		want            string // in what the native program prints, and Open's filename
	}{
		{"relative", "/bin", "true", 0, true, "/dev/fd/100/true"},
		{"absolute", "/tmp", "/bin/true", 0, true, "/bin/true"},
		{"by descriptor", "/bin/true", "", unix.AT_EMPTY_PATH, true, "/dev/fd/100"},
		{"script", dir, "s", 0, false, "/dev/fd/100/s"},
		{"script by descriptor", scriptPath, "", unix.AT_EMPTY_PATH, false, "/dev/fd/100"},
		{"script, close-on-exec", dir, "s", 0, true, fmt.Sprint("errno ", int(unix.ENOENT))},
		{"empty without the flag", "/bin/true", "", 0, true, fmt.Sprint("errno ", int(unix.ENOENT))},
		{"link", dir, "link", 0, true, "/dev/fd/100/link"},
		{"link not followed", dir, "link", unix.AT_SYMLINK_NOFOLLOW, true, fmt.Sprint("errno ", int(unix.ELOOP))},
		{"directory", "/tmp", "", unix.AT_EMPTY_PATH, true, fmt.Sprint("errno ", int(unix.EACCES))},
		{"unknown flag", "/bin", "true", 1, true, fmt.Sprint("errno ", int(unix.EINVAL))},
	} {
		t.Run(c.name, func(t *testing.T) {
			cloexec := map[bool]string{true: "1", false: "0"}[c.cloexec]
			out, err := exec.Command(caller, c.dir, c.file, fmt.Sprint(c.flags), cloexec).CombinedOutput()
			if err != nil && !strings.HasPrefix(string(out), "errno") || !strings.Contains(string(out), c.want) {
				t.Fatalf("natively: %v: %q", err, out)
			}
			got := openAt(t, c.dir, c.file, c.flags, c.cloexec)
			if got != c.want {
				t.Errorf("ours: %s, want %s", got, c.want)
			}
		})
	}
}

// openAt does with Open what atProgram does, and gives the filename or "errno N".
func openAt(t *testing.T, dir, file string, flags int, cloexec bool) string {
	t.Helper()
	fdFlags := map[bool]int{true: unix.O_CLOEXEC, false: 0}[cloexec]
	fd, err := unix.Open(dir, unix.O_PATH|fdFlags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Dup3(fd, 100, fdFlags); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(100)
	p, err := Open(file, []string{"zero"}, nil, Options{At: &At{Dirfd: 100, Flags: flags}})
	if err != nil {
		return fmt.Sprint("errno ", int(err.(*Error).Errno))
	}
	defer p.Close()
	if want := []string{"/bin/echo", "argument", p.Filename}; isScript(mustRead(t, p.Filename)) && fmt.Sprint(p.Argv) != fmt.Sprint(want) {
		t.Errorf("argv %q, want %q", p.Argv, want)
	}
	return p.Filename
}
