package hostcall

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests send a signal to a payload thread at each single instruction of the blocking stub and of the fault-safe
// accesses: a child does the same thing over and over, and its parent lets it run to the start of the routine, steps it
// by ptrace, sends the signal, and lets it go on.

// stepScene is something that a child does under a signal at a chosen instruction.
type stepScene struct {
	at     func() uintptr               // where the steps begin
	do     func(b *Block, s *stepState) // runs the routine once
	signal int                          // what is sent
	check  func(o stepOutcome) string   // what is wrong with the outcome
}

type stepState struct {
	pipe [2]int
	mem  uintptr // a page, with nothing mapped after it
}

// stepOutcome is what the child saw. Every round drains what is pending, so each shows exactly one signal.
type stepOutcome struct {
	Result int64 // of the routine
	Effect int   // how often the kernel carried it out; bytes copied
	During bool  // the signal came with the result
	After  bool  // it was still pending
	Value  uint64
	Twice  bool
	Closed uint32
}

var stepScenes = map[string]stepScene{
	"getpid":       {enterAddress, stepGetpid, 40, checkCall},
	"write":        {enterAddress, stepWrite, 40, checkCall},
	"write, SEGV":  {enterAddress, stepWrite, int(unix.SIGSEGV), checkCall},
	"write, mask":  {enterAddress, stepMasked, 40, checkMasked},
	"copy":         {func() uintptr { return accessAt.copyBytes }, stepCopy, int(unix.SIGSEGV), checkAccess(8+13, 8+13)},
	"copy, fault":  {func() uintptr { return accessAt.copyBytes }, stepCopyFault, int(unix.SIGSEGV), checkAccess(11, 11)},
	"swap":         {func() uintptr { return accessAt.perform }, stepSwap, int(unix.SIGBUS), checkAccess(6, 1)},
	"swap, fault":  {func() uintptr { return accessAt.perform }, stepSwapFault, int(unix.SIGBUS), checkAccess(-1, 0)},
	"cas":          {func() uintptr { return accessAt.perform }, stepCas, int(unix.SIGSEGV), checkAccess(6, 1)},
	"load, fault":  {func() uintptr { return accessAt.perform }, stepLoadFault, int(unix.SIGSEGV), checkAccess(-1, 0)},
	"copy, closed": {func() uintptr { return accessAt.copyBytes }, stepClosed, int(unix.SIGSEGV), checkClosed},
}

func stepGetpid(b *Block, s *stepState) {
	if r := b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); r == uintptr(os.Getpid()) {
		stepResult = stepOutcome{Result: 1, Effect: 1}
	} else {
		stepResult = stepOutcome{Result: int64(r)}
	}
}

func stepWrite(b *Block, s *stepState) {
	r := b.Call(quiet, unix.SYS_WRITE, uintptr(s.pipe[1]), s.mem, 1, 0, 0, 0)
	stepResult = stepOutcome{Result: int64(r), Effect: drainPipe(s.pipe[0])}
}

func stepMasked(b *Block, s *stepState) {
	r := b.Call(^uint64(0), unix.SYS_WRITE, uintptr(s.pipe[1]), s.mem, 1, 0, 0, 0)
	stepResult = stepOutcome{Result: int64(r), Effect: drainPipe(s.pipe[0])}
}

func drainPipe(fd int) int {
	n, err := unix.Read(fd, make([]byte, 100))
	if err == unix.EAGAIN {
		return 0
	}
	must(err)
	return n
}

func stepCopy(_ *Block, s *stepState) {
	var to [8 + 13]byte
	n := CopyIn(to[:], s.mem)
	stepResult = stepOutcome{Result: int64(n), Effect: n}
}

func stepCopyFault(_ *Block, s *stepState) {
	var to [100]byte
	n := CopyIn(to[:], s.mem+pageSize-11)
	stepResult = stepOutcome{Result: int64(n), Effect: n}
}

// stepSwap shows a swap that was made twice: it would give its own value back.
func stepSwap(_ *Block, s *stepState) {
	poke(s.mem, 6)
	old, ok := Swap32(s.mem, 7)
	stepResult = stepOutcome{Result: int64(old), Effect: oneIf(ok && peek(s.mem) == 7)}
}

func stepSwapFault(_ *Block, s *stepState) { stepResult = noAccess(Swap32(s.mem+pageSize, 7)) }
func stepLoadFault(_ *Block, s *stepState) { stepResult = noAccess(Load32(s.mem + pageSize)) }

func noAccess(_ uint32, ok bool) stepOutcome {
	if ok {
		return stepOutcome{Result: 1, Effect: 1}
	}
	return stepOutcome{Result: -1}
}

func stepCas(_ *Block, s *stepState) {
	poke(s.mem, 6)
	before, ok := CompareAndSwap32(s.mem, 6, 7)
	stepResult = stepOutcome{Result: int64(before), Effect: oneIf(ok && peek(s.mem) == 7)}
}

// stepClosed copies, and faults, in a thread that must not fault since a SIGSEGV is pending.
func stepClosed(_ *Block, s *stepState) {
	var to [100]byte
	n := CopyIn(to[:], s.mem+pageSize-11)
	_, ok := Load64(s.mem + pageSize)
	m := CopyOut(s.mem+pageSize-3, to[:])
	stepResult = stepOutcome{Result: int64(n), Effect: m + oneIf(ok)}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkCall: a call that did not begin had no effect, any other had it once and its result is there.
func checkCall(o stepOutcome) string {
	switch {
	case o.During == o.After:
		return "the signal came not exactly once"
	case o.Result == -513 && o.Effect == 0 && o.During, o.Result == 1 && o.Effect == 1:
		return ""
	}
	return "result and effect don't match"
}

func checkMasked(o stepOutcome) string {
	if o.During || !o.After || o.Result != 1 || o.Effect != 1 {
		return "a blocked signal had an effect"
	}
	return ""
}

func checkAccess(result int64, effect int) func(stepOutcome) string {
	return func(o stepOutcome) string {
		if !o.After || o.Result != result || o.Effect != effect {
			return fmt.Sprintf("want %d, %d, and the signal", result, effect)
		}
		return ""
	}
}

func checkClosed(o stepOutcome) string { return checkAccess(11, 3)(o) }

func init() { roles["step"] = stepRole }

// stepParams tells the child what to do, and the parent where things are.
type stepParams struct{ Scene string }

type stepHello struct {
	Tid int
	At  uint64
}

// stepResult is the routine's outcome in the child.
var stepResult stepOutcome

func stepRole() {
	mustInit()
	var p stepParams
	params(&p)
	scene := stepScenes[p.Scene]
	var s stepState
	must(unix.Pipe2(s.pipe[:], unix.O_NONBLOCK))
	mem, err := unix.Mmap(-1, 0, 2*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(err)
	must(unix.Mprotect(mem[pageSize:], unix.PROT_NONE))
	s.mem = address(&mem[0])
	b, err := New()
	must(err)
	reply(stepHello{unix.Gettid(), uint64(scene.at())})
	_, err = os.Stdin.Read(make([]byte, 1)) // traced
	must(err)
	for {
		stepStop() // the parent sets its breakpoint
		scene.do(b, &s)
		o := stepResult
		o.Closed = closedThreads
		note := func(info [128]byte, where *bool) {
			o.Twice = o.Twice || o.During || o.After
			*where, o.Value = true, head(&info).value
			if signo(&info) != scene.signal {
				fail("got signal", describe(&info))
			}
		}
		if info, ok := b.Signal(); ok {
			note(info, &o.During)
		}
		for {
			info, ok := Dequeue(^uint64(0))
			if !ok {
				break
			}
			note(info, &o.After)
		}
		if closedThreads != 0 || b.closed != 0 {
			fail("thread is still closed")
		}
		reply(o)
	}
}

// stepStop is where child and parent meet.
func stepStop() { raw6(unix.SYS_TGKILL, getpid(), gettid(), uintptr(unix.SIGSTOP), 0, 0, 0) }

func TestEachInstruction(t *testing.T) {
	for name, scene := range stepScenes {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, withEntry(t), "step", stepParams{name})
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			runtime.LockOSThread() // ptrace is the thread's
			defer runtime.UnlockOSThread()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			d := json.NewDecoder(out)
			var hello stepHello
			if err := d.Decode(&hello); err != nil {
				t.Fatal(err)
			}
			tr := &tracer{t: t, pid: cmd.Process.Pid, at: hello.At}
			if hello.Tid != tr.pid {
				t.Fatalf("payload thread is %d, want %d", hello.Tid, tr.pid)
			}
			tr.do(unix.PTRACE_SEIZE, 0)
			in.Write([]byte{1})
			tr.passUntil(unix.SIGSTOP)
			seen := map[string]int{}
			for steps := 0; ; steps++ {
				inside := tr.round(steps, scene.signal)
				var o stepOutcome
				if err := d.Decode(&o); err != nil {
					t.Fatalf("%d steps: %v", steps, err)
				}
				bad := scene.check(o)
				if bad == "" && (o.Twice || o.Value != uint64(steps)) {
					bad = "a signal came twice, or a wrong one"
				}
				if bad != "" {
					t.Errorf("%d steps: %s: %+v", steps, bad, o)
				}
				seen[fmt.Sprintf("result %d, during %v, closed %d", o.Result, o.During, o.Closed)]++
				if !inside {
					break
				}
			}
			t.Log(seen)
		})
	}
}

// tracer steps the main thread of a child.
type tracer struct {
	t   *testing.T
	pid int
	at  uint64
}

func (tr *tracer) ok(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

// do makes a ptrace request that has a signal for its argument, or none.
func (tr *tracer) do(request int, sig unix.Signal) {
	tr.t.Helper()
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tr.pid), 0, uintptr(sig), 0, 0); e != 0 {
		tr.t.Fatalf("ptrace request %#x: %v", request, e)
	}
}

// wait returns the signal that the child has stopped for.
func (tr *tracer) wait() unix.Signal {
	tr.t.Helper()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(tr.pid, &ws, unix.WALL, nil); err != nil || !ws.Stopped() {
		tr.t.Fatalf("child: %v, exited %v (%d), signal %v", err, ws.Exited(), ws.ExitStatus(), ws.Signal())
	}
	return ws.StopSignal()
}

// passUntil waits for the child to stop for a signal and passes on all others.
func (tr *tracer) passUntil(sig unix.Signal) {
	tr.t.Helper()
	for s := tr.wait(); s != sig; s = tr.wait() {
		tr.do(unix.PTRACE_CONT, s)
	}
}

func (tr *tracer) regs() (r unix.PtraceRegs) {
	tr.t.Helper()
	tr.ok(unix.PtraceGetRegs(tr.pid, &r))
	return r
}

// round lets the child, which is in its stop, run to the routine, steps it, sends the signal and lets it run to its
// next stop. It tells whether the routine had not returned when the signal was sent.
func (tr *tracer) round(steps, sig int) (inside bool) {
	tr.t.Helper()
	back := tr.runTo()
	inside = true
	pass := unix.Signal(0)
	for range steps {
		tr.do(unix.PTRACE_SINGLESTEP, pass)
		pass = 0
		if s := tr.wait(); s != unix.SIGTRAP {
			pass = s // a fault: the next step is into the handler
		}
		if tr.regs().Rip == back {
			inside = false
			break
		}
	}
	if e := send(tr.pid, tr.pid, sig, uint64(steps)); e != 0 {
		tr.t.Fatal(e)
	}
	tr.do(unix.PTRACE_CONT, pass)
	tr.passUntil(unix.SIGSTOP)
	return inside
}

// runTo runs to the routine and returns its return address.
func (tr *tracer) runTo() uint64 {
	tr.t.Helper()
	var old [1]byte
	_, err := unix.PtracePeekText(tr.pid, uintptr(tr.at), old[:])
	tr.ok(err)
	_, err = unix.PtracePokeText(tr.pid, uintptr(tr.at), []byte{0xcc})
	tr.ok(err)
	tr.do(unix.PTRACE_CONT, 0)
	tr.passUntil(unix.SIGTRAP)
	_, err = unix.PtracePokeText(tr.pid, uintptr(tr.at), old[:])
	tr.ok(err)
	r := tr.regs()
	if r.Rip != tr.at+1 {
		tr.t.Fatalf("trap at %x, want %x", r.Rip, tr.at)
	}
	r.Rip--
	tr.ok(unix.PtraceSetRegs(tr.pid, &r))
	var back [8]byte
	_, err = unix.PtracePeekData(tr.pid, uintptr(r.Rsp), back[:])
	tr.ok(err)
	return binary.LittleEndian.Uint64(back[:])
}
func enterAddress() uintptr {
	enter, _, _, _, _ := stubAddresses()
	return enter
}
