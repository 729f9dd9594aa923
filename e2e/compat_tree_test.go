package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
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
			row.run(t, &wrapping{under: []string{mustLook(t, "strace"), "-f", "-q", "-y", "-o", trace, "--seccomp-bpf",
				"-e", "trace=%process,ioctl", "-e", "signal=none"}})
			readTrace(t, trace).check(t)
		})
	}
	if seen < 3 {
		t.Errorf("only %d rows ask for the proof", seen)
	}
}

// hostTree is what strace saw of a run.
type hostTree struct {
	tasks      []*hostTask
	running    map[int]*hostTask // by tid
	ended      map[int]*hostTask // whose maker has not been seen to return yet
	execs, vms int
}

// hostTask is a process or thread of the host.
type hostTask struct {
	tid     int
	maker   *hostTask
	thread  bool // of its maker's process
	vforked bool // runs on a vCPU of its maker's VM until it executes a program
	killed  bool // by SIGKILL: perhaps before it had its VM

	foreign []string // programs executed on the host that are not kmdev
	vms     int      // KVM_CREATE_VM
	runs    int      // KVM_RUN
}

// A line is "PID call(args) = result", or its halves "PID call(args <unfinished ...>" and "PID <... call resumed>rest". A new
// task's own lines, even its last, may come before the line that tells who has made it.
var (
	traceCall    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	traceResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	traceResult  = regexp.MustCompile(`= (-?\d+)[^=]*$`)
	traceProgram = regexp.MustCompile(`^(?:"([^"]+)"|\d+<([^>]+)>, ""),`) // execve of a path, execveat of a descriptor
	traceEnd     = regexp.MustCompile(`^(\d+) +\+\+\+ (exited|killed by SIGKILL|killed)`)
)

func readTrace(t *testing.T, path string) *hostTree {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree := &hostTree{running: map[int]*hostTask{}, ended: map[int]*hostTask{}}
	pending := map[int]string{} // the first half of a call, by thread
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		tree.line(lines.Text(), pending)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return tree
}

func (tree *hostTree) line(line string, pending map[int]string) {
	if m := traceEnd.FindStringSubmatch(line); m != nil {
		tree.end(number(m[1]), m[2] == "killed by SIGKILL")
		return
	}
	tid, call, args := 0, "", ""
	if m := traceResumed.FindStringSubmatch(line); m != nil {
		tid, call = number(m[1]), m[2]
		args = pending[tid] + m[3]
		delete(pending, tid)
	} else if m := traceCall.FindStringSubmatch(line); m != nil {
		tid, call, args = number(m[1]), m[2], m[3]
		if call == "ioctl" {
			tree.ioctl(tree.task(tid), args) // that it was begun counts: a process may end in it
		}
		if first, ok := strings.CutSuffix(args, "<unfinished ...>"); ok {
			pending[tid] = first
			return
		}
	} else {
		return
	}
	if m := traceResult.FindStringSubmatch(args); m != nil && number(m[1]) >= 0 {
		tree.success(tree.task(tid), call, args, number(m[1]))
	}
}

// task finds a task that runs.
func (tree *hostTree) task(tid int) *hostTask {
	if tree.running[tid] == nil {
		task := &hostTask{tid: tid}
		tree.running[tid] = task
		tree.tasks = append(tree.tasks, task)
	}
	return tree.running[tid]
}

func (tree *hostTree) end(tid int, killed bool) {
	task := tree.task(tid)
	task.killed = killed
	delete(tree.running, tid)
	if task.maker == nil {
		tree.ended[tid] = task
	}
}

// made finds the task that clone has just returned: one without a maker yet.
func (tree *hostTree) made(tid int) *hostTask {
	if task := tree.ended[tid]; task != nil {
		delete(tree.ended, tid)
		return task
	}
	if task := tree.task(tid); task.maker == nil {
		return task
	}
	delete(tree.running, tid) // its number is used again
	return tree.task(tid)
}

func (tree *hostTree) ioctl(task *hostTask, args string) {
	switch {
	case strings.Contains(args, "KVM_CREATE_VM"):
		tree.vms++
		task.vms++
	case strings.Contains(args, "KVM_RUN"):
		task.runs++
	}
}

// success takes note of a call that has succeeded.
func (tree *hostTree) success(task *hostTask, call, args string, result int) {
	switch call {
	case "clone", "clone3", "fork", "vfork":
		made := tree.made(result)
		made.maker, made.thread = task, strings.Contains(args, "CLONE_THREAD")
		made.vforked = strings.Contains(args, "CLONE_VFORK")
	case "execve", "execveat":
		if strings.Contains(args, "AT_EMPTY_PATH|0x10000") { // AT_EXECVE_CHECK: asks only
			return
		}
		tree.execs++
		if m := traceProgram.FindStringSubmatch(args); m == nil || m[1]+m[2] != kmdev {
			task.foreign = append(task.foreign, args)
		}
	}
}

// processes adds what the threads of each process have done to its first one.
func (tree *hostTree) processes() []*hostTask {
	var leaders []*hostTask
	for _, task := range tree.tasks {
		leader := task
		for leader.thread {
			leader = leader.maker
		}
		if leader == task {
			leaders = append(leaders, task)
			continue
		}
		leader.vms += task.vms
		leader.runs += task.runs
		leader.foreign = append(leader.foreign, task.foreign...)
	}
	return leaders
}

func (tree *hostTree) check(t *testing.T) {
	t.Helper()
	all := tree.processes()
	t.Logf("%d processes, %d programs executed by the host, %d VMs", len(all), tree.execs, tree.vms)
	if len(all) < 2 {
		t.Errorf("strace saw no children: %d processes", len(all))
	}
	for i, p := range all {
		for _, f := range p.foreign {
			t.Errorf("process %d executed a program on the host: %s", p.tid, tail(f))
		}
		if i > 0 && p.maker == nil {
			t.Errorf("process %d came from nowhere", p.tid)
		}
		if (p.vms == 0 && !p.vforked || p.runs == 0) && !p.killed {
			t.Errorf("process %d (vfork: %v) made %d VMs and %d KVM_RUN", p.tid, p.vforked, p.vms, p.runs)
		}
	}
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
