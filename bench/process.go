package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kmdev/fixtures"
)

// workload is a tree of processes, measured natively, under kmdev and under strace -f. Less is better.
type workload struct {
	name string
	unit string
	per  float64 // what the exits of the whole tree are divided by
	runs int     // how often each side runs
	run  func(prefix []string) (float64, error)
}

// result is a workload's best on each side.
type result struct {
	native, kmdev, strace float64
	exits                 string
}

// measure runs w. The sides alternate.
func (b *bench) measure(w workload) (r result, err error) {
	dir, err := os.MkdirTemp("", "kmdev-bench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	var times [3][]float64
	var exits []float64
	for i := range w.runs {
		file := filepath.Join(dir, fmt.Sprint("stats", i))
		for side, prefix := range [][]string{
			nil,
			{b.kmdev, "run", "--log-level=error", "--stats=" + file, "--"},
			{"strace", "-f", "-o", "/dev/null", "--"},
		} {
			t, err := w.run(prefix)
			if err != nil {
				return r, fmt.Errorf("%s %v: %w", w.name, prefix, err)
			}
			times[side] = append(times[side], t)
		}
		n, err := exitsIn(file)
		if err != nil {
			return r, err
		}
		exits = append(exits, n/w.per)
	}
	return result{best(times[0]), best(times[1]), best(times[2]), fmt.Sprintf("%.4g", best(exits))}, nil
}

// report prints w's two rows.
func (b *bench) report(w workload, r result) {
	b.row(w.name, r.kmdev, "native", r.native, w.unit, 0, r.exits)
	b.row(w.name, r.kmdev, "strace -f", r.strace, w.unit, 0, "")
	b.out.Flush()
}

// exitsIn adds up what the monitors of a tree have written to a --stats file, a line each.
func exitsIn(file string) (sum float64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		runs := stats(line)["runs"]
		if runs <= 0 {
			return 0, fmt.Errorf("%s: no runs= in %q", file, line)
		}
		sum += runs
	}
	return sum, nil
}

// processes measures what it costs to make processes, and programs that make them.
func (b *bench) processes() error {
	if err := b.forks(); err != nil {
		return err
	}
	hello, err := fixtures.Compile("hello", fixtures.GlibcStatic)
	if err != nil {
		return err
	}
	const rounds = 20
	list := []workload{
		b.inC("fork+exec", rounds, "exec", hello),
		b.inC("vfork+exec", rounds, "vfork", hello),
		b.inC("posix_spawn", rounds, "spawn", hello),
		{"python3 -c pass", "ms", 1, b.runs, lifeOf("/usr/bin/python3", "-c", "pass")},
	}
	project, err := newProject()
	if err != nil {
		return err
	}
	defer os.RemoveAll(project)
	list = append(list, workload{"make -j2, 10 files", "ms", 1, min(b.runs, 3), lifeOf("make", "-s", "-B", "-j2", "-C", project)})
	for _, w := range append(list, b.servers()...) {
		if !strings.Contains(w.name, b.only) {
			continue
		}
		r, err := b.measure(w)
		if err != nil {
			return err
		}
		b.report(w, r)
	}
	return nil
}

// The resident memory whose fork is measured, in MB.
const (
	smallFork = 10
	largeFork = 1000
)

// forks splits fork's cost into what it is for a small process, and what each MB more adds.
func (b *bench) forks() error {
	for _, f := range []struct {
		name, how string
		goal      float64
	}{
		{"fork+exit+wait", "fork", 1.2},
		{"fork+exit+wait, write all", "touch", 0},
	} {
		if !strings.Contains(f.name, b.only) {
			continue
		}
		w := b.inC(f.name+", 10 MB", 20, f.how, strconv.Itoa(smallFork))
		small, err := b.measure(w)
		if err != nil {
			return err
		}
		b.report(w, small)
		more := b.inC(f.name+", growth per MB", 3, f.how, strconv.Itoa(largeFork))
		more.runs, more.unit = min(b.runs, 3), "µs"
		large, err := b.measure(more)
		if err != nil {
			return err
		}
		perMB := func(large, small float64) float64 { return (large - 1000*small) / (largeFork - smallFork) }
		ms := func(x float64) float64 { return x * 1000 } // inC gives milliseconds
		b.row(more.name, perMB(ms(large.kmdev), small.kmdev), "native", perMB(ms(large.native), small.native), "µs", f.goal, "")
		b.row(more.name, perMB(ms(large.kmdev), small.kmdev), "strace -f", perMB(ms(large.strace), small.strace), "µs", 0, "")
		b.out.Flush()
	}
	return nil
}

// inC is an operation of fixtures/src/bench_proc.c: the best of rounds, in milliseconds.
func (b *bench) inC(name string, rounds int, how, arg string) workload {
	return workload{name, "ms", float64(rounds), b.runs, func(prefix []string) (float64, error) {
		program, err := fixtures.Compile("bench_proc", fixtures.GlibcStatic)
		if err != nil {
			return 0, err
		}
		argv := append(prefix[:len(prefix):len(prefix)], program, how, strconv.Itoa(rounds), arg)
		out, err := quiet(exec.Command(argv[0], argv[1:]...)).Output()
		if err != nil {
			return 0, err
		}
		words := strings.Fields(string(out)) // the last line's, behind what the children wrote
		if len(words) == 0 {
			return 0, fmt.Errorf("%v printed nothing", argv)
		}
		ns, err := strconv.ParseFloat(words[len(words)-1], 64)
		return ns / 1e6, err
	}}
}

// lifeOf is how long a program lives, in milliseconds.
func lifeOf(argv ...string) func([]string) (float64, error) {
	return func(prefix []string) (float64, error) {
		all := append(prefix[:len(prefix):len(prefix)], argv...)
		start := time.Now()
		err := quiet(exec.Command(all[0], all[1:]...)).Run()
		return time.Since(start).Seconds() * 1000, err
	}
}

// newProject writes a C program of ten files with a makefile.
func newProject() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "kmdev-bench"); err != nil {
		return "", err
	}
	const files = 10
	var decls, sum, objects strings.Builder
	text := map[string]string{}
	for i := range files {
		fmt.Fprintf(&decls, "int part%d(int);\n", i)
		fmt.Fprintf(&sum, " + part%d(%d)", i, i)
		fmt.Fprintf(&objects, " part%d.o", i)
		text[fmt.Sprintf("part%d.c", i)] = fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint part%d(int n) { return n < 2 ? n : abs(n) + %d; }\n", i, i)
	}
	text["main.c"] = "#include <stdio.h>\n" + decls.String() + "int main(void) { printf(\"%d\\n\", 0" + sum.String() + "); return 0; }\n"
	text["Makefile"] = "program: main.o" + objects.String() + "\n\t$(CC) -o $@ $^\n"
	for name, content := range text {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			os.RemoveAll(dir)
			return "", err
		}
	}
	return dir, nil
}
