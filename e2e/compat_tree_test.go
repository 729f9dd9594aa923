package e2e

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file proves that no process of a payload's tree runs outside a VM. The witness is not kmdev: strace, around the whole
// run, sees every process that comes to be, every program that is executed on the host and every KVM_CREATE_VM.

// TestEachProcessInItsVM takes a few rows of the compatibility table with many children of every kind.
func TestEachProcessInItsVM(t *testing.T) {
	seen := 0
	for _, row := range compatRows() {
		if !row.proof {
			continue
		}
		seen++
		t.Run(row.name(), func(t *testing.T) {
			t.Parallel()
			trace := filepath.Join(t.TempDir(), "trace")
			row.run(t, &wrapping{under: []string{mustLook(t, "strace"), "-f", "-qq", "-y", "-o", trace, "--seccomp-bpf",
				"-e", "trace=%process,ioctl", "-e", "signal=none"}})
			tree := readTrace(t, trace)
			tree.check(t)
			t.Logf("%d processes, %d programs executed by the host, %d VMs", len(tree.processes), tree.execs, tree.vms)
		})
	}
	if seen < 3 {
		t.Errorf("only %d rows ask for the proof", seen)
	}
}

// hostTree is what strace saw of a run: the host's processes, threads left out.
type hostTree struct {
	processes  map[int]*hostProcess
	leaders    map[int]int // of a thread: its process
	execs, vms int
}

type hostProcess struct {
	parent  int
	foreign []string // programs executed on the host that are not kmdev
	vms     int
	runs    int  // KVM_RUN
	vforked bool // runs on a vCPU of its parent's VM until it executes a program
	killed  bool // by SIGKILL: perhaps before it had its VM
}

// A line is "PID call(args) = result", or its halves "PID call(args <unfinished ...>" and "PID <... call resumed>rest".
var (
	traceCall    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	traceResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	traceResult  = regexp.MustCompile(`= (-?\d+)[^=]*$`)
	traceProgram = regexp.MustCompile(`^(?:"([^"]+)"|\d+<([^>]+)>, ""),`) // execve of a path, execveat of a descriptor
	traceKilled  = regexp.MustCompile(`^(\d+) +\+\+\+ killed by SIGKILL`)
)

func readTrace(t *testing.T, path string) *hostTree {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree := &hostTree{processes: map[int]*hostProcess{}, leaders: map[int]int{}}
	pending := map[int]string{} // the first half of a call, by thread
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := traceKilled.FindStringSubmatch(line); m != nil {
			tree.of(number(m[1])).killed = true
			continue
		}
		tid, call, args := 0, "", ""
		if m := traceResumed.FindStringSubmatch(line); m != nil {
			tid, call = number(m[1]), m[2]
			args = pending[tid] + m[3]
			delete(pending, tid)
		} else if m := traceCall.FindStringSubmatch(line); m != nil {
			tid, call, args = number(m[1]), m[2], m[3]
			if first, ok := strings.CutSuffix(args, "<unfinished ...>"); ok {
				pending[tid] = first
				continue
			}
		} else {
			continue
		}
		if m := traceResult.FindStringSubmatch(args); m != nil && number(m[1]) >= 0 {
			tree.call(tid, call, args, number(m[1]))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// of finds the process of a thread; one that nobody was seen to make is the root.
func (tree *hostTree) of(tid int) *hostProcess {
	if leader, ok := tree.leaders[tid]; ok {
		tid = leader
	}
	if tree.processes[tid] == nil {
		tree.processes[tid] = &hostProcess{}
	}
	return tree.processes[tid]
}

// call takes note of a call that has succeeded.
func (tree *hostTree) call(tid int, call, args string, result int) {
	switch call {
	case "clone", "clone3", "fork", "vfork":
		leader, ok := tree.leaders[tid]
		if !ok {
			leader = tid
		}
		if strings.Contains(args, "CLONE_THREAD") {
			tree.leaders[result] = leader
			return
		}
		p := tree.of(result)
		p.parent, p.vforked = leader, strings.Contains(args, "CLONE_VFORK")
	case "execve", "execveat":
		if strings.Contains(args, "AT_EMPTY_PATH|0x10000") { // AT_EXECVE_CHECK: asks only
			return
		}
		tree.execs++
		if m := traceProgram.FindStringSubmatch(args); m == nil || m[1]+m[2] != kmdev {
			p := tree.of(tid)
			p.foreign = append(p.foreign, args)
		}
	case "ioctl":
		p := tree.of(tid)
		switch {
		case strings.Contains(args, "KVM_CREATE_VM"):
			tree.vms++
			p.vms++
		case strings.Contains(args, "KVM_RUN"):
			p.runs++
		}
	}
}

func (tree *hostTree) check(t *testing.T) {
	t.Helper()
	if len(tree.processes) < 2 {
		t.Errorf("strace saw no children: %d processes", len(tree.processes))
	}
	for _, pid := range slices.Sorted(maps.Keys(tree.processes)) {
		p := tree.processes[pid]
		for _, f := range p.foreign {
			t.Errorf("process %d executed a program on the host: %s", pid, tail(f))
		}
		if (p.vms == 0 && !p.vforked || p.runs == 0) && !p.killed {
			t.Errorf("process %d, a child of %d (vfork: %v), made %d VMs and %d KVM_RUN", pid, p.parent, p.vforked, p.vms, p.runs)
		}
	}
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
