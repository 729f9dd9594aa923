package tree

import (
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func newTree(t *testing.T) *Tree {
	t.Helper()
	tr, err := Create(func(fd int) (int, error) { return fd, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(tr.fd) })
	return tr
}

func began(at uint64) func() uint64 { return func() uint64 { return at } }

// TestMembers: two mappings of the file, as two processes have.
func TestMembers(t *testing.T) {
	mine := newTree(t)
	theirs, err := Open(mine.FD())
	if err != nil {
		t.Fatal(err)
	}
	m, err := mine.Join(os.Getpid(), 77)
	if err != nil {
		t.Fatal(err)
	}
	want := &Info{Exe: 5000, FDBound: 4096, Ignored: 1 << 12, Caught: 6, NoNewPrivs: true, Threads: []Thread{{10, 3, 0, 0}, {11, 1 << 63, 2, 5}},
		Ranges: []Range{{0x1000, 0x3000, true, ""}, {0x7000, 0x8000, false, "[vvar]"}, {0x8000, 0x9000, true, "[vdso]"}}}
	want.Limits[1] = unix.Rlimit{Cur: 1, Max: unix.RLIM_INFINITY}
	m.Set(want)
	m.SetThreads(want.Threads)
	m.SetRanges(func(yield func(Range)) {
		for _, r := range want.Ranges {
			yield(r)
		}
	})
	got, ok := theirs.Find(os.Getpid(), began(77))
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, %v; want %+v", got, ok, want)
	}
	m.SetBlocked(11, 9)
	if got, _ := theirs.Find(os.Getpid(), began(77)); got.Threads[1] != (Thread{11, 9, 2, 5}) {
		t.Errorf("threads are %+v", got.Threads)
	}
	if _, ok := theirs.Find(os.Getpid(), began(78)); ok {
		t.Error("found a process that began at another time")
	}
	if _, ok := theirs.Find(os.Getppid(), began(77)); ok {
		t.Error("found a process that is none of the tree")
	}
	again, err := theirs.Join(os.Getpid(), 77) // after execve
	if err != nil || again.n != m.n {
		t.Errorf("joined again: slot %d, %v; want %d", again.n, err, m.n)
	}
	again.Leave()
	if _, ok := mine.Find(os.Getpid(), began(77)); ok {
		t.Error("found a process that has left")
	}
}

func TestThreadsWithoutRoom(t *testing.T) {
	tr := newTree(t)
	m, err := tr.Join(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.SetThreads(make([]Thread, maxThreads+5))
	i, ok := tr.Find(1, began(1))
	if !ok || len(i.Threads) != maxThreads || i.More != 5 {
		t.Errorf("%d threads and %d more, %v", len(i.Threads), i.More, ok)
	}
}

// TestSlotsOfTheDead: processes that were killed leave their entries behind, which later ones take.
func TestSlotsOfTheDead(t *testing.T) {
	tr := newTree(t)
	dead := deadPid(t)
	for n := range firstSweep {
		tr.mem.index[n] = uint32(dead)
		tr.mem.grow(n)
	}
	m, err := tr.Join(os.Getpid(), 1)
	if err != nil || m.n != 0 {
		t.Errorf("joined in slot %d, %v; want that of a dead process", m.n, err)
	}
}

func deadPid(t *testing.T) int {
	t.Helper()
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid
}

// TestJoinAtOnce gives each of many members a slot of its own.
func TestJoinAtOnce(t *testing.T) {
	tr := newTree(t)
	const members = firstSweep - 1 // no sweep: their pids are nobody's
	var wg sync.WaitGroup
	slots := make([]int, members)
	for i := range members {
		wg.Add(1)
		go func() {
			defer wg.Done()
			m, err := tr.Join(i+1, uint64(i))
			if err == nil {
				slots[i] = m.n
			}
		}()
	}
	wg.Wait()
	seen := map[int]bool{}
	for _, n := range slots {
		seen[n] = true
	}
	if len(seen) != members {
		t.Errorf("%d members have %d slots", members, len(seen))
	}
}

// TestWholeState reads a slot while another process writes it: what is read was written together.
func TestWholeState(t *testing.T) {
	if fd := os.Getenv("KMDEV_TREE_FD"); fd != "" {
		n, _ := strconv.Atoi(fd)
		tr, err := Open(n)
		if err != nil {
			t.Fatal(err)
		}
		m, err := tr.Join(os.Getpid(), 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(0); ; i++ {
			m.Set(&Info{Ignored: i, Caught: ^i})
			if i == 0 {
				os.Stdout.WriteString("writing\n")
			}
		}
	}
	tr := newTree(t)
	c := exec.Command("/proc/self/exe", "-test.run=^TestWholeState$")
	c.Env = append(os.Environ(), "KMDEV_TREE_FD=3")
	c.ExtraFiles = []*os.File{os.NewFile(uintptr(must(unix.Dup(tr.fd))), "tree")}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	last, reads := uint64(0), 0
	for last < 1000 || reads < 1000 {
		i, ok := tr.Find(c.Process.Pid, began(5))
		if !ok {
			continue // the writer was at it all the time
		}
		reads++
		if i.Caught != ^i.Ignored || i.Ignored < last {
			t.Fatalf("half a state: %#x, %#x after %#x", i.Ignored, i.Caught, last)
		}
		last = i.Ignored
	}
}

func must(fd int, err error) int {
	if err != nil {
		panic(err)
	}
	return fd
}

// TestSmallFiles: RLIMIT_FSIZE leaves room for fewer processes, or for none.
func TestSmallFiles(t *testing.T) {
	var old unix.Rlimit
	limit := func(n uint64) {
		if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: old.Max}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Prlimit(0, unix.RLIMIT_FSIZE, &old, nil)
	limit(uint64(headSize + 2*slotSize + 5))
	tr := newTree(t)
	for pid := 1; pid <= 2; pid++ {
		if _, err := tr.Join(pid, 1); err != nil {
			t.Error(err)
		}
	}
	if _, err := tr.Join(3, 1); err == nil {
		t.Error("three processes have room for two")
	}
	limit(100)
	if _, err := Create(func(fd int) (int, error) { return fd, nil }); err == nil {
		t.Error("a tree in 100 bytes")
	}
}

func BenchmarkFind(b *testing.B) {
	tr, err := Create(func(fd int) (int, error) { return fd, nil })
	if err != nil {
		b.Fatal(err)
	}
	tr.Join(os.Getpid(), 1)
	for b.Loop() {
		tr.Find(os.Getpid(), began(1))
	}
}
