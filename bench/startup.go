package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"kmdev/fixtures"
)

// startRounds is how many starts make one sample.
const startRounds = 20

// startup compares the whole life of a static hello with what it can't be less than: an empty Go program plus a bare VM made and
// torn down; and with a native hello and one run in gdb, for scale.
func (b *bench) startup() error {
	hello, err := fixtures.Compile("hello", fixtures.GlibcStatic)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kmdev-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	empty, err := emptyProgram(dir)
	if err != nil {
		return err
	}
	vm, err := bareVM(dir)
	if err != nil {
		return err
	}
	var ours, goEmpty, bare, plain []float64
	for range b.runs {
		for _, s := range []struct {
			into *[]float64
			argv []string
		}{
			{&ours, []string{b.kmdev, "run", "--log-level=error", hello}},
			{&goEmpty, []string{empty}},
			{&bare, []string{vm}},
			{&plain, []string{hello}},
		} {
			t, err := life(s.argv)
			if err != nil {
				return err
			}
			*s.into = append(*s.into, t)
		}
	}
	gdb, err := life([]string{"gdb", "-nx", "-q", "-batch", "-ex", "run", hello})
	if err != nil {
		return err
	}
	k, e, v, n := best(ours), best(goEmpty), best(bare), best(plain)
	b.row("start to exit", k, "empty Go + VM", e+v-n, "ms", 1.5, "")
	b.row("start to exit", k, "native", n, "ms", 0, "")
	b.row("start to exit", k, "gdb run", gdb, "ms", 0, "")
	return nil
}

// life is how long argv lives, in milliseconds, the mean of a few.
func life(argv []string) (float64, error) {
	start := time.Now()
	for range startRounds {
		if err := quiet(exec.Command(argv[0], argv[1:]...)).Run(); err != nil {
			return 0, fmt.Errorf("%v: %w", argv, err)
		}
	}
	return time.Since(start).Seconds() * 1000 / startRounds, nil
}

func emptyProgram(dir string) (string, error) {
	src, out := filepath.Join(dir, "empty.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o666); err != nil {
		return "", err
	}
	cmd := quiet(exec.Command("go", "build", "-o", out, src))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return out, cmd.Run()
}

// bareVM compiles the C program that makes the least VM that can run a user-mode program, runs one exit of one, and ends: see
// fixtures/src/bench_vm.c. As it is a process too,
// the life of a native hello is taken off its own.
func bareVM(string) (string, error) { return fixtures.Compile("bench_vm", fixtures.GlibcStatic) }
