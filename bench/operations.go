package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// floor says what an operation is compared with.
type floor int

const (
	native    floor = iota
	bareExit        // SYSCALL, OUT and back, without a monitor around it
	bareTouch       // KVM's own fault on demand
)

type operation struct {
	name   string // of fixtures/src/bench.c
	rounds int
	floor  floor
	goal   float64 // of the ratio; 0: only reported
	// call is how many rounds there are to a system call that is part of the operation but not what is measured: a second
	// line takes a bare exit for each off. 0: there is none.
	call float64
}

var operations = []operation{
	{"getppid", 20000, bareExit, 1.15, 0},
	{"clock_gettime", 3e6, native, 1.3, 0},
	{"gettimeofday", 3e6, native, 1.3, 0},
	{"integer", 1e8, native, 1.02, 0},
	{"sse", 1e8, native, 1.02, 0},
	{"avx512", 1e8, native, 1.02, 0},
	{"heap", 33 * 1000, bareTouch, 0.3, 33},
	{"map", 33 * 1000, bareTouch, 0.3, 0},
	{"write4k", 5000, native, 0, 0},
	{"read4k", 5000, native, 0, 0},
	{"pipe", 3000, native, 0, 0},
	{"futex", 10000, native, 0, 0},
	{"signal", 2000, native, 0, 0},
	{"thread", 300, native, 0, 0},
}

// sample is one run's result.
type sample struct {
	ns    float64
	stats map[string]float64
}

func (b *bench) operation(o operation) error {
	var ours, theirs, exits, bare []float64
	for range b.runs {
		if err := b.warm(o); err != nil {
			return err
		}
		k, err := b.underKmdev(o)
		if err != nil {
			return err
		}
		if k.ns < 0 {
			return nil // this processor has it not
		}
		ours = append(ours, k.ns)
		exits = append(exits, k.stats["runs"]/float64(o.rounds))
		bare = append(bare, 1000*k.stats["floor_hypercall_us"])
		switch o.floor {
		case bareExit:
			theirs = append(theirs, 1000*k.stats["floor_hypercall_us"])
		case bareTouch:
			theirs = append(theirs, 1000*k.stats["floor_touch_us"])
		default:
			n, err := b.run(exec.Command(b.binary, o.name, strconv.Itoa(o.rounds)))
			if err != nil {
				return err
			}
			theirs = append(theirs, n.ns)
		}
	}
	against := [...]string{"native", "bare exit", "bare touch"}[o.floor]
	b.row(o.name, best(ours), against, best(theirs), "ns", o.goal, fmt.Sprintf("%.3f", best(exits)))
	if o.call > 0 {
		b.row(o.name+" less bare exits", best(ours)-best(bare)/o.call, against, best(theirs), "ns", o.goal, "")
	}
	return nil
}

// warm lets a native process touch as many huge pages as the operation will, for what a virtual machine's memory costs that
// its own host has not backed yet (10-15 µs for 4 KiB) is no cost of kmdev's: whoever comes first pays it.
func (b *bench) warm(o operation) error {
	if o.floor != bareTouch {
		return nil
	}
	_, err := b.run(exec.Command(b.binary, "huge", strconv.Itoa(o.rounds)))
	return err
}

func (b *bench) underKmdev(o operation) (sample, error) {
	flags := []string{"run", "--log-level=error", "--stats=-"}
	if o.floor != native {
		flags = append(flags, "--floor")
	}
	return b.run(exec.Command(b.kmdev, append(flags, "--", b.binary, o.name, strconv.Itoa(o.rounds))...))
}

// run takes the nanoseconds from standard output and the counters from standard error.
func (b *bench) run(cmd *exec.Cmd) (sample, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	text := strings.TrimSpace(string(out))
	if text == "none" {
		return sample{ns: -1}, nil
	}
	ns, err := strconv.ParseFloat(text, 64)
	return sample{ns, stats(stderr.String())}, err
}

// stats reads the line that kmdev run --stats writes.
func stats(text string) map[string]float64 {
	m := map[string]float64{}
	_, line, _ := strings.Cut(text, "kmdev: stats ")
	line, _, _ = strings.Cut(line, "\n")
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		m[name], _ = strconv.ParseFloat(value, 64)
	}
	return m
}

func quiet(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stderr = os.Stderr
	return cmd
}
