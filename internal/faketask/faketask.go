// Package faketask is a payload thread without a VM, for tests: its memory is
// mapped in the window of this process, and its hypercalls are made by Do.
package faketask

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// Task is a payload thread. It belongs to the goroutine that made it, which
// stays locked to its host thread until the test ends.
type Task struct {
	Proc     *Process
	TB       testing.TB
	Handlers map[int]hypercall.Handler
	Mask     uint64 // HostMask
	Limit    int    // FDLimit

	// Interrupted, if set, is called when a call was ended by a kick, before
	// it goes on.
	Interrupted func()
	// Masks are the masks of SleepMasked calls.
	Masks []uint64

	tid     int
	block   *hostcall.Block
	scratch *hypercall.Scratch
	restart func(hypercall.Task) uint64
	next    uint64
}

// Process is the payload process: the test's own.
type Process struct {
	ExePath    string
	ExeFile    int
	Files      map[string]string // what ProcFile gives
	NameChange func(*unix.Utsname)
	Relatives  map[int]hypercall.Relative

	mu      sync.Mutex
	threads map[int]bool
	limits  map[int]unix.Rlimit
	notes   []string
	bound   int
}

// Limit is the FDLimit of new tasks.
const Limit = 700

// NewProcess returns a process without threads.
func NewProcess() *Process {
	return &Process{ExeFile: -1, threads: map[int]bool{}, limits: map[int]unix.Rlimit{
		unix.RLIMIT_NOFILE: {Cur: Limit, Max: Limit},
	}, bound: Limit}
}

// New returns a thread of p on the calling goroutine. hostcall.Init must have
// run.
func New(tb testing.TB, p *Process) *Task {
	runtime.LockOSThread()
	b, err := hostcall.New()
	if err != nil {
		tb.Fatal(err)
	}
	t := &Task{Proc: p, TB: tb, Limit: Limit, tid: unix.Gettid(), block: b, scratch: hypercall.NewScratch(), next: takeBase()}
	p.mu.Lock()
	p.threads[t.tid] = true
	p.mu.Unlock()
	first := t.next
	tb.Cleanup(func() { giveBase(first) })
	tb.Cleanup(t.free)
	return t
}

// bases hands each live task 4 GB of payload addresses of its own.
var bases struct {
	sync.Mutex
	n    uint64
	free []uint64
}

func takeBase() uint64 {
	bases.Lock()
	defer bases.Unlock()
	if n := len(bases.free); n > 0 {
		b := bases.free[n-1]
		bases.free = bases.free[:n-1]
		return b
	}
	bases.n++
	return bases.n << 32
}

func giveBase(b uint64) {
	bases.Lock()
	defer bases.Unlock()
	bases.free = append(bases.free, b)
}

func (t *Task) free() {
	if unix.Gettid() != t.tid {
		return // the goroutine's thread ends with it
	}
	p := t.Proc
	p.mu.Lock()
	delete(p.threads, t.tid)
	p.mu.Unlock()
	t.block.Free()
	t.scratch.Free()
	runtime.UnlockOSThread()
}

// Do makes a hypercall as a run loop does, interruptions without a handler
// included.
func (t *Task) Do(nr int, args ...any) uint64 {
	var a [6]uint64
	for i, v := range args {
		a[i] = word(v)
	}
	r := t.Once(nr, &a)
	for {
		switch hypercall.Errno(r) {
		case hypercall.ERESTARTSYS, hypercall.ERESTARTNOINTR, hypercall.ERESTARTNOHAND:
			t.interrupted()
			again := a
			r = t.Once(nr, &again)
		case hypercall.ERESTART_RESTARTBLOCK:
			t.interrupted()
			fn := t.restart
			t.restart = nil
			t.scratch.Reset()
			r = fn(t)
		default:
			return r
		}
	}
}

func (t *Task) interrupted() {
	t.block.Signal()
	if t.Interrupted != nil {
		t.Interrupted()
	}
}

// Once makes a hypercall and returns its result as it is.
func (t *Task) Once(nr int, a *[6]uint64) uint64 {
	t.block.Signal() // of a call whose result stood
	row := hypercall.Lookup(nr)
	if row == nil {
		return hypercall.Err(unix.ENOSYS)
	}
	t.scratch.Reset()
	switch row.How() {
	case hypercall.Pass:
		return hypercall.PassThrough(t, row, a)
	case hypercall.Handle:
		if h := t.Handlers[nr]; h != nil {
			return h(t, a)
		}
		t.TB.Fatalf("no handler for %s", row.Name)
	}
	return hypercall.Err(row.Errno())
}

// Native makes the same call on the host itself, with the same addresses.
func (t *Task) Native(nr int, args ...any) uint64 {
	var h [6]uintptr
	for i, v := range args {
		w := word(v)
		if g, ok := v.(GVA); ok && g != 0 {
			w = uint64(g) + usermem.Window
		}
		h[i] = uintptr(w)
	}
	r, _, e := unix.Syscall6(uintptr(nr), h[0], h[1], h[2], h[3], h[4], h[5])
	if e != 0 {
		return hypercall.Err(e)
	}
	return uint64(r)
}

// GVA is a payload address.
type GVA uint64

func word(v any) uint64 {
	switch v := v.(type) {
	case GVA:
		return uint64(v)
	case int:
		return uint64(v)
	case uint64:
		return v
	case uint32:
		return uint64(v)
	case uintptr:
		return uint64(v)
	}
	panic(fmt.Sprintf("faketask: argument of type %T", v))
}

const page = 4096

// Map maps pages of payload memory with a hole before and behind.
func (t *Task) Map(pages int) GVA { return t.MapAt(t.next+page, pages, unix.PROT_READ|unix.PROT_WRITE) }

// MapAt maps pages at a payload address.
func (t *Task) MapAt(gva uint64, pages, prot int) GVA {
	t.TB.Helper()
	size := uintptr(pages * page)
	addr := uintptr(usermem.Window + gva)
	_, _, e := unix.Syscall6(unix.SYS_MMAP, addr, size, uintptr(prot),
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uintptr(0), 0)
	if e != 0 {
		t.TB.Fatalf("mapping %#x: %v", addr, e)
	}
	t.TB.Cleanup(func() { unix.Syscall(unix.SYS_MUNMAP, addr, size, 0) })
	if gva >= t.next && gva < t.next+1<<31 {
		t.next = gva + uint64(size) + page
	}
	return GVA(gva)
}

// Put writes bytes to new payload memory and returns their address.
func (t *Task) Put(b []byte) GVA {
	t.TB.Helper()
	p := t.Map(max(1, (len(b)+page-1)/page))
	t.Write(p, b)
	return p
}

// Str is Put for a NUL-terminated string.
func (t *Task) Str(s string) GVA { return t.Put(append([]byte(s), 0)) }

// Write writes payload memory.
func (t *Task) Write(p GVA, b []byte) {
	t.TB.Helper()
	if e := usermem.CopyOut(uint64(p), b); e != 0 {
		t.TB.Fatalf("writing %d bytes at %#x: %v", len(b), p, e)
	}
}

// Read reads payload memory.
func (t *Task) Read(p GVA, n int) []byte {
	t.TB.Helper()
	b := make([]byte, n)
	if e := usermem.CopyIn(b, uint64(p)); e != 0 {
		t.TB.Fatalf("reading %d bytes at %#x: %v", n, p, e)
	}
	return b
}

// FD returns a descriptor that Do has made; it is closed when the test ends.
func (t *Task) FD(r uint64) int {
	t.TB.Helper()
	if e := hypercall.Errno(r); e != 0 {
		t.TB.Fatalf("no descriptor: %v", e)
	}
	t.TB.Cleanup(func() { unix.Close(int(r)) })
	return int(r)
}

// OwnedFD returns a descriptor in the monitor's range.
func (t *Task) OwnedFD(fd int) int {
	t.TB.Helper()
	own, err := t.Proc.OwnFD(fd)
	if err != nil {
		t.TB.Fatal(err)
	}
	t.TB.Cleanup(func() { unix.Close(own) })
	return own
}

// The methods of hypercall.Task.

func (t *Task) Sleep(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	if t.block.Taken() {
		return uintptr(hypercall.Err(hypercall.ERESTARTNOINTR))
	}
	return t.block.Call(t.Mask, nr, a0, a1, a2, a3, a4, a5)
}

func (t *Task) SleepMasked(mask uint64, nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	t.Masks = append(t.Masks, mask)
	return t.Sleep(nr, a0, a1, a2, a3, a4, a5)
}

func (t *Task) HostMask() uint64                          { return t.Mask }
func (t *Task) IgnoredMask() uint64                       { return 0 }
func (t *Task) Scratch() *hypercall.Scratch               { return t.scratch }
func (t *Task) SetRestart(fn func(hypercall.Task) uint64) { t.restart = fn }
func (t *Task) FDLimit() int                              { return t.Limit }
func (t *Task) Pid() int                                  { return os.Getpid() }
func (t *Task) Tid() int                                  { return t.tid }
func (t *Task) Process() hypercall.Process                { return t.Proc }
