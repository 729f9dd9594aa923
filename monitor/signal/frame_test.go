package signal

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/kvm"
)

// frameCase is one request, and the fault that its trigger is (nil for a system call).
type frameCase struct {
	name  string
	edit  func(*request)
	fault *Fault
}

func signalled(name string, edit func(*request)) frameCase { return frameCase{name: name, edit: edit} }

func faulted(name string, trigger uint64, sig unix.Signal, f Fault, edit ...func(*request)) frameCase {
	return frameCase{name, func(q *request) {
		q.Trigger, q.Sig = trigger, uint64(sig)
		for _, e := range edit {
			e(q)
		}
	}, &f}
}

const (
	altBase = arenaBase + 0x2000
	altSize = 0x6000
)

func withAlt(flags uint64) func(*request) {
	return func(q *request) {
		q.AltSet, q.AltBase, q.AltSize, q.AltFlags = 1, altBase, altSize, flags
		q.Flags |= SAOnStack
	}
}

func operand(v uint64) func(*request) { return func(q *request) { q.Handler = v } }

var frameCases = []frameCase{
	signalled("plain", func(*request) {}),
	signalled("no SA_SIGINFO", func(q *request) { q.Flags &^= SASigInfo }),
	signalled("no SA_RESTORER", func(q *request) { q.Flags &^= SARestorer }),
	signalled("unaligned stack", func(q *request) { q.Rsp = arenaTop - 0x35 }),
	signalled("masks", func(q *request) { q.Mask = 0xf0f0_0000_0000_0100; q.SAMask = ^uint64(0) }),
	signalled("real-time signal", func(q *request) { q.Sig = 64 }),
	signalled("flags", func(q *request) { q.Rflags = flagDF | flagCF | flagAC | flagOF | 1<<21 }),
	signalled("SA_NODEFER nested", func(q *request) { q.Flags |= SANoDefer; q.Depth = 3 }),
	signalled("nested, another signal", func(q *request) { q.Sig2 = uint64(unix.SIGUSR2); q.Depth = 2 }),
	signalled("SA_RESETHAND", func(q *request) { q.Flags |= SAResetHand }),
	signalled("SA_RESETHAND twice", func(q *request) { q.Flags |= SAResetHand | SANoDefer; q.Depth = 2 }),
	signalled("altstack unused", func(q *request) { withAlt(0)(q); q.Flags &^= SAOnStack }),
	signalled("altstack", withAlt(0)),
	signalled("altstack, odd size", func(q *request) { withAlt(SSOnStack)(q); q.AltSize -= 0x123; q.AltBase += 7 }),
	signalled("altstack nested", func(q *request) { withAlt(0)(q); q.Flags |= SANoDefer; q.Depth = 2 }),
	signalled("altstack nested without SA_ONSTACK", func(q *request) {
		withAlt(0)(q)
		q.Sig2, q.Depth = uint64(unix.SIGUSR2), 2
	}),
	signalled("altstack overflow", func(q *request) { withAlt(0)(q); q.AltSize = 5000; q.Flags |= SANoDefer; q.Depth = 2 }),
	signalled("altstack too small", func(q *request) { withAlt(0)(q); q.AltSize = MinAltStack }),
	signalled("altstack disarmed", withAlt(SSAutoDisarm)),
	signalled("altstack disarmed, nested", func(q *request) { withAlt(SSAutoDisarm)(q); q.Flags |= SANoDefer; q.Depth = 2 }),
	signalled("already on the altstack", func(q *request) { withAlt(0)(q); q.Rsp = altBase + altSize - 0x40 }),
	signalled("red zone at the altstack's end", func(q *request) { withAlt(0)(q); q.Rsp = altBase + altSize + 64 }),
	signalled("stack pointer at the altstack's base", func(q *request) { withAlt(0)(q); q.Rsp = altBase + 0x80 }),
	signalled("stack overflow", func(q *request) { q.Rsp = arenaBase + 0x400 }),
	signalled("FP state below the stack", func(q *request) { q.Rsp = arenaBase + 0x80 }),
	signalled("frame below the stack", func(q *request) { q.Rsp = arenaBase + 0xb00 }),
	signalled("bad stack pointer", func(q *request) { q.Rsp = 0xdead_beef_0000_0000 }),
	signalled("initial FP state", func(q *request) { initialFP(&q.XS) }),
	signalled("x87 in use only", func(q *request) { le.PutUint64(q.XS[xsBV:], cpu.FP) }),
	signalled("AVX in use only", func(q *request) { le.PutUint64(q.XS[xsBV:], cpu.AVX) }),

	faulted("#UD", trigUD2, unix.SIGILL, Fault{Vector: VectorUD}),
	faulted("#DE", trigDiv, unix.SIGFPE, Fault{Vector: VectorDE}),
	faulted("#BP", trigInt3, unix.SIGTRAP, Fault{Vector: VectorBP}),
	faulted("INT1", trigInt1, unix.SIGTRAP, Fault{Vector: VectorDB}),
	faulted("#DB step", trigStep, unix.SIGTRAP, Fault{Vector: VectorDB, DR6: dr6Step}),
	faulted("INT 4", trigInt4, unix.SIGSEGV, Fault{Vector: VectorOF}),
	faulted("INT 32", trigInt32, unix.SIGSEGV, Fault{Vector: VectorGP, Err: 0x20<<3 | 2}),
	faulted("HLT", trigHlt, unix.SIGSEGV, Fault{Vector: VectorGP}),
	faulted("bad selector", trigSeg, unix.SIGSEGV, Fault{Vector: VectorGP, Err: 0xf0}, operand(0xf3)),
	faulted("read unmapped", trigLoad, unix.SIGSEGV, pageFault(4, 0x1000, PageUnmapped), operand(0x1000)),
	faulted("write unmapped", trigStore, unix.SIGSEGV, pageFault(6, 0x1234, PageUnmapped), operand(0x1234)),
	faulted("write read-only", trigStore, unix.SIGSEGV, pageFault(7, readOnlyPage, PageProtected), operand(readOnlyPage)),
	faulted("read beyond the end of the file", trigLoad, unix.SIGBUS, pageFault(4, beyondPage+8, PageBeyondEOF), operand(beyondPage+8)),
	faulted("execute unmapped", trigJump, unix.SIGSEGV, pageFault(0x14, 0x2000, PageUnmapped), operand(0x2000)),
	faulted("execute data", trigJump, unix.SIGSEGV, pageFault(0x15, arenaBase, PageProtected), operand(arenaBase)),
	faulted("read kernel half", trigLoad, unix.SIGSEGV, pageFault(4, 1<<63|1<<47|(1<<63-1<<47), PageUnmapped), operand(1<<63|1<<47|(1<<63-1<<47))),
	faulted("read non-canonical", trigLoad, unix.SIGSEGV, Fault{Vector: VectorGP}, operand(1<<47)),
	faulted("stack non-canonical", trigStack, unix.SIGBUS, Fault{Vector: VectorSS}),
	faulted("jump non-canonical", trigJump, unix.SIGSEGV, Fault{Vector: VectorGP}, operand(1<<47)),
	faulted("#AC", trigAlign, unix.SIGBUS, Fault{Vector: VectorAC}, func(q *request) { q.Rflags |= flagAC }),
	faulted("MOVAPS", trigMovaps, unix.SIGSEGV, Fault{Vector: VectorGP}),
	faulted("#MF", trigX87, unix.SIGFPE, Fault{Vector: VectorMF}, func(q *request) {
		initialFP(&q.XS)
		le.PutUint64(q.XS[xsBV:], cpu.Legacy)
		le.PutUint16(q.XS[fxFCW:], initFCW&^4)
	}),
	faulted("#XM", trigSSE, unix.SIGFPE, Fault{Vector: VectorXM}, func(q *request) {
		initialFP(&q.XS)
		le.PutUint64(q.XS[xsBV:], cpu.Legacy)
		le.PutUint32(q.XS[fxMXCSR:], initMXCSR&^(1<<9))
		le.PutUint32(q.XS[fxXMM:], 0x3f80_0000)
	}),
}

func pageFault(err, addr uint64, p Page) Fault {
	return Fault{Vector: VectorPF, Err: err, CR2: addr, Page: p}
}

func initialFP(xs *[4096]byte) {
	clear(xs[:])
	x := cpu.UserXState()
	le.PutUint32(xs[fxMXCSR:], initMXCSR)
	le.PutUint16(xs[fxFCW:], initFCW)
	le.PutUint32(xs[fxMXCSRMask:], x.MXCSRMask)
}

// TestFrames takes signals natively and in the model, and compares registers, masks, FP state and every byte of stack.
func TestFrames(t *testing.T) {
	n := startNative(t)
	for _, c := range frameCases {
		t.Run(c.name, func(t *testing.T) {
			q := newRequest()
			c.edit(q)
			r := n.run(q)
			m := newModel(t, q, r)
			died := m.replay(t, q, r, c.fault)
			if native := unix.WaitStatus(r.Status); native.Signaled() != (died != 0) || died != 0 && native.Signal() != died {
				t.Fatalf("native status %#x, model died of %v", r.Status, died)
			}
			compareArena(t, r.Arena[:], m.arena, died)
		})
	}
}

// replay does what the native child did, level by level, and compares. It returns the signal the model died of.
func (m *model) replay(t *testing.T, q *request, r *reply, f *Fault) unix.Signal {
	t.Helper()
	for i := range int(q.Depth) {
		l := &r.Level[i]
		died := m.takeSignal(t, q, r, i, f)
		if died != 0 {
			if int(r.Levels) != i {
				t.Errorf("model died at level %d, native reached %d", i, r.Levels)
			}
			return died
		}
		if int(r.Levels) <= i {
			t.Fatalf("native stopped at level %d (status %#x)", r.Levels, r.Status)
		}
		m.compare(t, i, l)
	}
	return 0
}

// compare compares the thread with the native one at the end of a level.
func (m *model) compare(t *testing.T, i int, l *level) {
	t.Helper()
	if *m.Regs != l.After {
		t.Errorf("level %d: registers\n%s", i, diffRegs(&l.After, m.Regs))
	}
	if Set(l.Mask) != m.Thread.Blocked() {
		t.Errorf("level %d: mask %v, native %v", i, m.Thread.Blocked(), Set(l.Mask))
	}
	native := AltStack{Base: l.AltBase, Size: l.AltSize, Flags: uint32(l.AltFlags)}
	if alt := m.Thread.AltStack(elsewhere); alt != native {
		t.Errorf("level %d: alternate stack %+v, native %+v", i, alt, native)
	}
	compareFP(t, i, l.XSAfter[:], m.FP)
}

// takeSignal is the run loop's part: restart rules apart, what happens between the trigger and the first instruction
// of a handler.
func (m *model) takeSignal(t *testing.T, q *request, r *reply, i int, f *Fault) unix.Signal {
	t.Helper()
	l := &r.Level[i]
	*m.Regs = l.Before
	copy(m.FP, l.XSBefore[:])
	var info Siginfo
	if f == nil {
		m.Regs.Rax, m.Regs.Rcx, m.Regs.R11 = 0, m.Regs.Rip, m.Regs.Rflags
		sig := q.Sig
		if i > 0 && q.Sig2 != 0 {
			sig = q.Sig2
		}
		info = UserInfo(int(sig), SITkill, int(r.Pid), uint32(r.Uid))
	} else {
		info = m.takeFault(t, q, r, i, *f)
	}
	return m.deliver(info)
}

// deliver is a run loop's way from a signal to a handler, or to a death.
func (m *model) deliver(info Siginfo) unix.Signal {
	for {
		act, d := m.Actions.Take(info.Signo())
		if d != Handle {
			return unix.Signal(info.Signo())
		}
		switch out := m.Deliver(act, &info); out.Kind {
		case Done:
			return 0
		case Killed:
			return unix.Signal(out.Info.Signo())
		case Forced:
			info = out.Info
		}
	}
}

// nativeFrame is the frame that the native child's handler of level i was entered with.
func nativeFrame(r *reply, i int) *sigframe {
	off := r.Level[i].After.Rsp - arenaBase
	return (*sigframe)(r.Arena[off : off+frameSize])
}

// takeFault raises the trigger's exception in the model. What only the processor knows comes from the native frame: the
// FP status that the exception left, and RFLAGS.RF.
func (m *model) takeFault(t *testing.T, q *request, r *reply, i int, f Fault) Siginfo {
	t.Helper()
	native := nativeFrame(r, i)
	flags := native.get(frameRflags)
	if (flags^m.Regs.Rflags)&^(flagRF|flagTF|flagArith) != 0 {
		t.Errorf("native flags %#x, before %#x", flags, m.Regs.Rflags)
	}
	m.Regs.Rflags = flags
	fp := native.get(frameFPState) - arenaBase
	switch q.Trigger {
	case trigX87, trigSSE:
		copy(m.FP, r.Arena[fp:fp+uint64(m.XState.Size)])
		f.FP = ReadFPStatus(m.FP)
	case trigStep: // its PUSHFQ is in the arena
		le.PutUint64(m.arena[m.Regs.Rsp-8-arenaBase:], m.Regs.Rflags|flagTF)
	case trigInt1: // a trap, but some hypervisors make it a fault
		m.Regs.Rip = native.get(frameRIP)
	case trigJump:
		m.Regs.Rip = m.Regs.Rbx
		if f.Vector == VectorGP { // some processors fault at the jump, some at its target
			m.Regs.Rip = native.get(frameRIP)
		}
	}
	info, ok := f.Info(m.Regs)
	if !ok {
		t.Fatal("no signal")
	}
	m.Thread.SetTrap(f)
	m.Actions.Force(m.Thread, info.Signo())
	return info
}

const frameRIP = frameGPRs + 16*8

const flagArith = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF

func diffRegs(want, got *kvm.Regs) string {
	var b bytes.Buffer
	names := [...]string{"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip"}
	w, g := sigcontextGPRs(want), sigcontextGPRs(got)
	for i, name := range names {
		if *w[i] != *g[i] {
			fmt.Fprintf(&b, "%s: native %#x, model %#x\n", name, *w[i], *g[i])
		}
	}
	if want.Rflags != got.Rflags {
		fmt.Fprintf(&b, "rflags: native %#x, model %#x\n", want.Rflags, got.Rflags)
	}
	return b.String()
}

// compareFP compares the registers that two XSAVE images hold. Components that one calls initial are written out in
// both.
func compareFP(t *testing.T, level int, native, got []byte) {
	t.Helper()
	x := cpu.UserXState()
	check := func(what string, from, to int) {
		if !bytes.Equal(native[from:to], got[from:to]) {
			to = min(to, from+16)
			t.Errorf("level %d: %s: native % x …, model % x …", level, what, native[from:to], got[from:to])
		}
	}
	check("x87", 0, fxMXCSR)
	check("MXCSR", fxMXCSR, fxST)
	check("ST", fxST, fxXMM)
	check("XMM", fxXMM, fxXMMEnd)
	for _, c := range x.Components {
		check(fmt.Sprintf("component %d", c.Bit), int(c.Offset), int(c.Offset+c.Size))
	}
}

// compareArena compares the stacks. A thread that dies leaves no arena behind.
func compareArena(t *testing.T, native, got []byte, died unix.Signal) {
	t.Helper()
	if died != 0 {
		return
	}
	bad := 0
	for i := 0; i < len(native); i += 8 {
		if bytes.Equal(native[i:i+8], got[i:i+8]) {
			continue
		}
		if bad++; bad <= 8 {
			t.Errorf("at %#x: native % x, model % x", arenaBase+i, native[i:i+8], got[i:i+8])
		}
	}
	if bad > 8 {
		t.Errorf("and %d words more", bad-8)
	}
}
