package signal

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/kvm"
)

// bareModel is a model of newRequest's thread without a native twin.
func bareModel(t *testing.T, q *request) *model {
	t.Helper()
	return newModel(t, q, &reply{wireReply: wireReply{Handler: 0x40_1000, Restorer: 0x40_2000}})
}

// checkReturned checks what must hold after any Sigreturn, whatever the frame.
func (m *model) checkReturned(t *testing.T, out Outcome, flagsBefore uint64) {
	t.Helper()
	if (m.Regs.Rflags^flagsBefore)&^flagsRestored != 0 {
		t.Errorf("rflags %#x, before %#x: system flags changed", m.Regs.Rflags, flagsBefore)
	}
	if m.Thread.Blocked()&Unblockable != 0 {
		t.Errorf("blocks %v", m.Thread.Blocked())
	}
	checkImage(t, m.XState, m.FP)
	switch out.Kind {
	case Done:
		if _, bad := BadEntry(m.Regs); bad || m.Thread.sel != userSelectors {
			t.Errorf("goes on at %#x with %+v", m.Regs.Rip, m.Thread.sel)
		}
	case Forced:
		if out.Info.Signo() != segv || m.Thread.Blocked().Has(segv) || m.Actions.Get(segv).Handler == SigIgn {
			t.Errorf("forced %s cannot be delivered: blocked %v", Name(out.Info.Signo()), m.Thread.Blocked())
		}
	case Killed:
		t.Error("sigreturn kills without asking SIGSEGV's action")
	}
}

// FuzzSigreturn returns through a frame that Deliver made and data has overwritten from at on, both in bytes from the
// arena's start, with the stack pointer rsp bytes above it.
func FuzzSigreturn(f *testing.F) {
	valid := bareFrame()
	start := valid.rsp - 8
	f.Add([]byte{}, uint16(0), uint16(valid.rsp), uint64(0x202))
	f.Add([]byte{1}, uint16(valid.rsp), uint16(valid.rsp+8), ^uint64(0))
	for _, c := range sigreturnCases {
		q := newRequest()
		c.edit(q)
		for _, mu := range q.Mutation[:q.Mutations] {
			at := start + mu.Off
			if mu.FP != 0 {
				at = le.Uint64(valid.arena[start+frameFPState:]) - arenaBase + mu.Off
			}
			f.Add(le.AppendUint64(nil, mu.Value)[:mu.Size], uint16(at), uint16(valid.rsp), uint64(0))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at, rsp uint16, flags uint64) {
		m := valid.again()
		copy(m.arena[at:], data)
		before := bytes.Clone(m.arena)
		m.Regs.Rsp, m.Regs.Rflags = arenaBase+uint64(rsp), flags
		out := m.Sigreturn()
		m.checkReturned(t, out, flags)
		if !bytes.Equal(before, m.arena) {
			t.Error("sigreturn wrote to memory")
		}
	})
}

// frameSeed is an arena in which Deliver has made a frame; rsp is where the handler's RET leaves the stack pointer.
type frameSeed struct {
	arena arena
	rsp   uint64
	frame uint64
}

func bareFrame() *frameSeed {
	q := newRequest()
	m := &model{arena: newArena()}
	m.Context = &Context{Mem: m.arena, XState: cpu.UserXState(), Actions: NewActions(Table{}), Thread: NewThreadState(0),
		Regs: &kvm.Regs{Rsp: q.Rsp, Rip: 0x40_3000, Rflags: 0x202}, FP: m.fp[:]}
	copy(m.FP, q.XS[:])
	info := UserInfo(usr1, SITkill, 1, 0)
	m.Deliver(Action{Handler: 0x40_1000, Flags: q.Flags, Restorer: 0x40_2000}, &info)
	return &frameSeed{arena: m.arena, frame: m.Regs.Rsp, rsp: m.Regs.Rsp + 8 - arenaBase}
}

// again is a thread in the handler of that frame.
func (s *frameSeed) again() *model {
	m := &model{arena: bytes.Clone(s.arena)}
	m.Context = &Context{Mem: m.arena, XState: cpu.UserXState(), Actions: NewActions(Table{}), Thread: NewThreadState(0),
		Regs: &kvm.Regs{Rsp: s.frame, Rflags: 0x202}, FP: m.fp[:]}
	return m
}

// TestRoundTrip delivers and returns with random registers: nothing may change.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 300 {
		q := newRequest()
		q.Mask = rng.Uint64() &^ uint64(Of(usr1))
		if rng.IntN(2) == 0 {
			withAlt(uint64(rng.IntN(2)) * SSAutoDisarm)(q)
		}
		m := bareModel(t, q)
		for _, reg := range sigcontextGPRs(m.Regs) {
			*reg = rng.Uint64()
		}
		m.Regs.Rsp, m.Regs.Rip = arenaTop-rng.Uint64N(256), rng.Uint64()>>17
		m.Regs.Rflags = 0x202 | rng.Uint64()&flagsRestored
		x := pattern(m.XState)
		copy(m.FP, x[:])
		before, state := *m.Regs, *m.Thread

		info := UserInfo(usr1, SIUser, 1, 2)
		act, _ := m.Actions.Take(usr1)
		if out := m.Deliver(act, &info); out.Kind != Done {
			t.Fatalf("deliver: %+v", out)
		}
		if m.Regs.Rsp&15 != 8 {
			t.Errorf("handler's stack pointer %#x", m.Regs.Rsp)
		}
		m.Regs.Rsp += 8
		if out := m.Sigreturn(); out.Kind != Done {
			t.Fatalf("sigreturn: %+v", out)
		}
		if *m.Regs != before {
			t.Errorf("registers\n%s", diffRegs(&before, m.Regs))
		}
		if *m.Thread != state {
			t.Errorf("thread %+v, before %+v", *m.Thread, state)
		}
		compareFP(t, 0, x[:], m.FP)
	}
}

// TestKVMTakesImages loads what sigreturn made of hostile frames into a vCPU, and reads it back.
func TestKVMTakesImages(t *testing.T) {
	v := newVCPU(t)
	valid := bareFrame()
	got := make([]byte, kvm.LegacyXsaveSize)
	check := func(name string, m *model) {
		t.Helper()
		if err := v.SetXsave(m.FP); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := v.GetXsave(got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[fxXMM:fxXMMEnd], m.FP[fxXMM:fxXMMEnd]) || le.Uint32(got[fxMXCSR:]) != le.Uint32(m.FP[fxMXCSR:]) {
			t.Errorf("%s: MXCSR %#x, was %#x; XMM % x …, was % x …", name, got[fxMXCSR:fxMXCSR+4], m.FP[fxMXCSR:fxMXCSR+4], got[fxXMM:fxXMM+16], m.FP[fxXMM:fxXMM+16])
		}
		for _, c := range m.XState.Components {
			if !bytes.Equal(got[c.Offset:c.Offset+c.Size], m.FP[c.Offset:c.Offset+c.Size]) {
				t.Errorf("%s: component %d differs", name, c.Bit)
			}
		}
	}
	for _, c := range sigreturnCases {
		q := newRequest()
		c.edit(q)
		m := valid.again()
		m.mutate(q)
		m.Regs.Rsp += 8
		m.Sigreturn()
		check(c.name, m)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		m := valid.again()
		q := randomRequest(rng)
		m.mutate(q)
		m.Regs.Rsp += 8
		m.Sigreturn()
		check("random", m)
	}
}

// newVCPU is a vCPU that has the host's XSAVE components; the test's thread is its.
func newVCPU(t *testing.T) *kvm.VCPU {
	t.Helper()
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { sys.Close() })
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(vm.FD) })
	runtime.LockOSThread()
	v, err := vm.CreateVCPU(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	features := cpu.UserXState().Features
	const ecxXSAVE = 1<<26 | 1<<27
	if err := v.SetCPUID([]kvm.CPUIDEntry{
		{Function: 0, Eax: 0xd},
		{Function: 1, Ecx: ecxXSAVE},
		{Function: 0xd, Flags: kvm.CPUIDSignificantIndex, Eax: uint32(features), Edx: uint32(features >> 32)},
	}); err != nil {
		t.Fatal(err)
	}
	if err := v.SetXCR0(features); err != nil {
		t.Fatal(err)
	}
	return v
}
