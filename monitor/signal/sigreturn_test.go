package signal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
)

// runSigreturn lets a handler change its frame and return, natively and in the model, and compares what becomes of the
// thread: it goes on, or the SIGSEGV handler gets a frame, or it dies.
func runSigreturn(t *testing.T, n *native, q *request) {
	t.Helper()
	q.Sigreturn = 1
	r := n.run(q)
	m := newModel(t, q, r)
	m.installCatcher(t, r)
	if died := m.takeSignal(t, q, r, 0, nil); died != 0 {
		t.Fatalf("died of %v before the handler", died)
	}
	m.compare(t, 0, &r.Level[0])
	m.mutate(q)
	m.Regs.Rsp += 8
	m.Regs.Rflags = 0x202
	clear(m.FP)

	out := m.Sigreturn()
	checkImage(t, m.XState, m.FP)
	var died unix.Signal
	resumed := out.Kind == Done
	if !resumed {
		died = m.deliver(out.Info)
	}
	if native := unix.WaitStatus(r.Status); native.Signaled() != (died != 0) || died != 0 && native.Signal() != died {
		t.Fatalf("native status %#x, model died of %v (%+v)", r.Status, died, out.Kind)
	}
	if died != 0 {
		return
	}
	if resumed != (r.Resumed != 0) {
		t.Fatalf("goes on: native %v, model %v", r.Resumed != 0, resumed)
	}
	if resumed {
		m.Regs.Rip = r.Level[1].After.Rip // the child has executed a jump since
		m.Regs.Rflags &^= flagRF
	}
	m.compare(t, 1, &r.Level[1])
	compareArena(t, r.Arena[:], m.arena, 0)
}

// mutate does to the model's frame what native.c's mutate does.
func (m *model) mutate(q *request) {
	frame := m.Regs.Rsp - arenaBase
	fp := le.Uint64(m.arena[frame+frameFPState:]) - arenaBase
	for _, mu := range q.Mutation[:q.Mutations] {
		at := frame
		if mu.FP != 0 {
			at = fp
		}
		b := le.AppendUint64(nil, mu.Value)
		copy(m.arena[at+mu.Off:], b[:mu.Size])
	}
}

// checkImage checks what KVM_SET_XSAVE insists on (validate_user_xstate_header, and MXCSR's bits).
func checkImage(t *testing.T, x *cpu.XState, img []byte) {
	t.Helper()
	if bv := le.Uint64(img[xsBV:]); bv&^x.Features != 0 || bv&cpu.Legacy != cpu.Legacy {
		t.Errorf("xstate_bv %#x", bv)
	}
	for i, b := range img[xsCompBV:xsEnd] {
		if b != 0 {
			t.Errorf("header byte %d is %#x", 8+i, b)
		}
	}
	if mxcsr := le.Uint32(img[fxMXCSR:]); mxcsr&^x.MXCSRMask != 0 {
		t.Errorf("MXCSR %#x", mxcsr)
	}
}

func (q *request) inFrame(off, size, value uint64) {
	q.Mutation[q.Mutations] = mutation{Off: off, Size: size, Value: value}
	q.Mutations++
}

func (q *request) inFP(off, size, value uint64) {
	q.Mutation[q.Mutations] = mutation{FP: 1, Off: off, Size: size, Value: value}
	q.Mutations++
}

const nonCanonical = 1 << 47

var sigreturnCases = []struct {
	name string
	edit func(*request)
}{
	{"untouched", func(*request) {}},
	{"on the altstack", withAlt(0)},
	{"on a disarmed altstack", withAlt(SSAutoDisarm)},
	{"registers", func(q *request) {
		for i := range uint64(14) {
			q.inFrame(frameGPRs+8*i, 8, 0xfedc_ba98_0000_0000+i)
		}
	}},
	{"all flags but TF", func(q *request) { q.inFrame(frameRflags, 8, ^uint64(flagTF)) }},
	{"no flags", func(q *request) { q.inFrame(frameRflags, 8, 0) }},
	{"mask", func(q *request) { q.inFrame(frameSigmask, 8, ^uint64(0)) }},
	{"rip non-canonical", func(q *request) { q.inFrame(frameRIP, 8, nonCanonical) }},
	{"rip non-canonical, SIGSEGV blocked", func(q *request) {
		q.inFrame(frameRIP, 8, nonCanonical)
		q.inFrame(frameSigmask, 8, uint64(Of(int(unix.SIGSEGV))))
	}},
	{"cs null", func(q *request) { q.inFrame(frameCS, 2, 0) }},
	{"cs of the kernel", func(q *request) { q.inFrame(frameCS, 2, 0x10) }},
	{"cs a data segment", func(q *request) { q.inFrame(frameCS, 2, 0x2b) }},
	{"cs beyond the GDT", func(q *request) { q.inFrame(frameCS, 2, 0xfff0) }},
	{"cs in the LDT", func(q *request) { q.inFrame(frameCS, 2, 0x7) }},
	{"cs with RPL 0", func(q *request) { q.inFrame(frameCS, 2, 0x30) }},
	{"ss null", func(q *request) { q.inFrame(frameSS, 2, 0) }},
	{"ss of the kernel", func(q *request) { q.inFrame(frameSS, 2, 0x18) }},
	{"ss with RPL 0", func(q *request) { q.inFrame(frameSS, 2, 0x28) }},
	{"ss beyond the GDT", func(q *request) { q.inFrame(frameSS, 2, 0xfff0) }},
	{"ss null, lenient", func(q *request) { q.inFrame(frameSS, 2, 0); q.inFrame(frameUC, 8, ucFPXState|ucSigcontextSS) }},
	{"cs and ss bad", func(q *request) { q.inFrame(frameSS, 2, 0x18); q.inFrame(frameCS, 2, 0x10) }},
	{"cs bad, FP bad", func(q *request) { q.inFrame(frameCS, 2, 0x10); q.inFP(xsCompBV, 8, 1) }},
	{"uc_flags 0", func(q *request) { q.inFrame(frameUC, 8, 0) }},
	{"altstack installed", func(q *request) {
		q.inFrame(frameAltSP, 8, altBase)
		q.inFrame(frameAltFlags, 4, 0)
		q.inFrame(frameAltSize, 8, altSize)
	}},
	{"altstack too small", func(q *request) {
		q.inFrame(frameAltFlags, 4, 0)
		q.inFrame(frameAltSize, 8, 100)
	}},
	{"altstack bad flags", func(q *request) { withAlt(0)(q); q.inFrame(frameAltFlags, 4, 77) }},
	{"altstack installed while on it", func(q *request) {
		q.Rsp = altBase + altSize - 0x40
		q.inFrame(frameAltSP, 8, altBase)
		q.inFrame(frameAltFlags, 4, 0)
		q.inFrame(frameAltSize, 8, altSize)
	}},
	{"altstack taken away while on it", func(q *request) {
		withAlt(0)(q)
		q.Rsp = altBase + altSize - 0x40
		q.inFrame(frameAltFlags, 4, SSDisable)
	}},
	{"altstack taken away by a handler on it", func(q *request) { withAlt(0)(q); q.inFrame(frameAltFlags, 4, SSDisable) }},
	{"no FP state", func(q *request) { q.inFrame(frameFPState, 8, 0) }},
	{"FP state elsewhere", func(q *request) { q.inFrame(frameFPState, 8, 0x1000) }},
	{"FP state in the kernel half", func(q *request) { q.inFrame(frameFPState, 8, 1<<63) }},
	{"FP state half mapped", func(q *request) { q.inFrame(frameFPState, 8, arenaBase+arenaSize-512) }},
	{"FP state of fill bytes", func(q *request) { q.inFrame(frameFPState, 8, arenaBase+0x100) }},
	{"FP state misaligned by 8", func(q *request) { q.inFrame(frameFPState, 8, arenaBase+0x108) }},
	{"magic1", func(q *request) { q.inFP(swMagic1, 4, 0) }},
	{"magic2", func(q *request) { q.inFP(uint64(cpu.UserXState().Size), 4, 0) }},
	{"magic1, bad MXCSR", func(q *request) { q.inFP(swMagic1, 4, 0); q.inFP(fxMXCSR, 4, 1<<31) }},
	{"sizes", func(q *request) { q.inFP(swExtended, 4, 1); q.inFP(swSize, 4, 0xffff_ffff) }},
	{"size 576", func(q *request) { q.inFP(swSize, 4, xsEnd) }},
	{"no features", func(q *request) { q.inFP(swXFeatures, 8, 0) }},
	{"x87 only", func(q *request) { q.inFP(swXFeatures, 8, cpu.FP) }},
	{"SSE only", func(q *request) { q.inFP(swXFeatures, 8, cpu.SSE) }},
	{"AVX only", func(q *request) { q.inFP(swXFeatures, 8, cpu.AVX) }},
	{"all features", func(q *request) { q.inFP(swXFeatures, 8, ^uint64(0)) }},
	{"nothing in use", func(q *request) { q.inFP(xsBV, 8, 0) }},
	{"x87 in use", func(q *request) { q.inFP(xsBV, 8, cpu.FP) }},
	{"SSE in use", func(q *request) { q.inFP(xsBV, 8, cpu.SSE) }},
	{"unknown component in use", func(q *request) { q.inFP(xsBV, 8, cpu.Legacy|1<<62) }},
	{"bad MXCSR", func(q *request) { q.inFP(fxMXCSR, 4, 1<<31|initMXCSR) }},
	{"misaligned SSE mode", func(q *request) { q.inFP(fxMXCSR, 4, 1<<17|initMXCSR) }},
	{"bad MXCSR, x87 only", func(q *request) { q.inFP(fxMXCSR, 4, 1<<31); q.inFP(swXFeatures, 8, cpu.FP) }},
	{"bad MXCSR, AVX only", func(q *request) { q.inFP(fxMXCSR, 4, 1<<31); q.inFP(swXFeatures, 8, cpu.AVX) }},
	{"bad MXCSR, nothing in use", func(q *request) { q.inFP(fxMXCSR, 4, 1<<31); q.inFP(xsBV, 8, 0) }},
	{"compacted, nothing", func(q *request) { q.inFP(xsCompBV, 8, 1<<63); q.inFP(xsBV, 8, 0) }},
	{"compacted, legacy", func(q *request) { q.inFP(xsCompBV, 8, 1<<63|3); q.inFP(xsBV, 8, 3) }},
	{"compacted, all", func(q *request) { q.inFP(xsCompBV, 8, 1<<63|cpu.UserXState().Features) }},
	{"compacted, last", func(q *request) {
		c := cpu.UserXState().Components
		mask := c[len(c)-1].Mask()
		q.inFP(xsCompBV, 8, 1<<63|mask)
		q.inFP(xsBV, 8, mask)
	}},
	{"compacted, bad MXCSR unused", func(q *request) {
		q.inFP(xsCompBV, 8, 1<<63|1)
		q.inFP(xsBV, 8, 1)
		q.inFP(fxMXCSR, 4, 1<<31)
	}},
	{"compacted, in use but absent", func(q *request) { q.inFP(xsCompBV, 8, 1<<63|1) }},
	{"compacted, unknown component", func(q *request) { q.inFP(xsCompBV, 8, 1<<63|1<<61|3); q.inFP(xsBV, 8, 3) }},
	{"not compacted, but said what", func(q *request) { q.inFP(xsCompBV, 8, 3) }},
	{"header byte 16", func(q *request) { q.inFP(xsReserved, 1, 1) }},
	{"header byte 24", func(q *request) { q.inFP(xsReserved+8, 1, 1) }},
	{"header byte 63", func(q *request) { q.inFP(xsEnd-1, 1, 1) }},
	{"compacted, header byte 63", func(q *request) {
		q.inFP(xsCompBV, 8, 1<<63|cpu.UserXState().Features)
		q.inFP(xsEnd-1, 1, 1)
	}},
}

// kernelIs tells whether the running kernel does what this package has from Linux 6.18, where versions differ.
type kernelIs struct {
	altstackFirst bool // sigreturn sets the alternate stack before the registers; from 6.12 on
	sizeHonoured  bool // fpx_sw_bytes.xstate_size says where the closing magic is; some versions from 6.14 on do not look
}

func (n *native) kernel() kernelIs {
	n.t.Helper()
	q := newRequest()
	q.Sigreturn = 1
	withAlt(0)(q)
	q.inFrame(frameAltFlags, 4, SSDisable)
	alt := n.run(q)
	q = newRequest()
	q.Sigreturn = 1
	q.inFP(swSize, 4, xsEnd)
	size := n.run(q)
	if alt.Resumed == 0 || size.Resumed == 0 {
		n.t.Fatalf("native status %#x, %#x", alt.Status, size.Status)
	}
	x := cpu.UserXState()
	legacyOnly := true
	for _, c := range x.Components {
		legacyOnly = legacyOnly && bytes.Count(size.Level[1].XSAfter[c.Offset:c.Offset+c.Size], []byte{0}) == int(c.Size)
	}
	return kernelIs{altstackFirst: alt.Level[1].AltSize == altSize, sizeHonoured: legacyOnly}
}

// compares tells whether the kernel and this package have the same rules for what q does to its frame.
func (k kernelIs) compares(q *request) bool {
	for _, mu := range q.Mutation[:q.Mutations] {
		switch {
		case mu.FP == 0 && mu.Off >= frameAltSP && mu.Off < frameGPRs && !k.altstackFirst,
			mu.FP != 0 && (mu.Off == swSize || mu.Off == swExtended) && !k.sizeHonoured:
			return false
		}
	}
	return q.AltSet == 0 || k.altstackFirst
}

func TestSigreturn(t *testing.T) {
	n := startNative(t)
	kernel := n.kernel()
	for _, c := range sigreturnCases {
		t.Run(c.name, func(t *testing.T) {
			q := newRequest()
			c.edit(q)
			if !kernel.compares(q) {
				t.Skipf("this kernel's rules differ: %+v", kernel)
			}
			runSigreturn(t, n, q)
		})
	}
}

// TestSigreturnRandom compares frames with a few fields replaced at random.
func TestSigreturnRandom(t *testing.T) {
	n := startNative(t)
	kernel := n.kernel()
	rounds := 500
	if testing.Short() {
		rounds = 100
	}
	for i := range rounds {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		q := randomRequest(rng)
		if !kernel.compares(q) {
			continue
		}
		if ok := t.Run(fmt.Sprint(i), func(t *testing.T) { runSigreturn(t, n, q) }); !ok {
			t.Fatalf("mutations %+v", q.Mutation[:q.Mutations])
		}
	}
}

// field is a field of a frame, with values that matter there.
type field struct {
	fp        bool
	off, size uint64
	values    []uint64
}

var fields = func() []field {
	x := cpu.UserXState()
	masks := []uint64{0, 1, 2, 3, 4, 5, 6, 7, x.Features, x.Features &^ 3, ^uint64(0), 1 << 62}
	comps := []uint64{0, 1, 1 << 63, 1<<63 | 3, 1<<63 | x.Features, 1<<63 | x.Features&^4, 1<<63 | x.Features&^cpu.AVX&^0x20}
	fs := []field{
		{false, frameUC, 8, []uint64{0, 1, 3, 7, ^uint64(0)}},
		{false, frameAltSP, 8, []uint64{0, altBase, ^uint64(0)}},
		{false, frameAltFlags, 4, []uint64{0, 1, 2, 3, SSAutoDisarm, SSAutoDisarm | 2}},
		{false, frameAltSize, 8, []uint64{0, 2047, 2048, altSize, ^uint64(0)}},
		{false, frameRflags, 8, []uint64{0, ^uint64(flagTF), flagRF, flagAC, flagDF}},
		{false, frameRIP, 8, []uint64{nonCanonical, nonCanonical << 1}},
		{false, frameCS, 2, []uint64{0, 0x10, 0x33, 0x30, 0x2b}},
		{false, frameSS, 2, []uint64{0, 0x18, 0x2b, 0x28, 0x33}},
		{false, frameFPState, 8, []uint64{0, 8, arenaBase + 0x1000, arenaBase + 0x1010, arenaBase + 0x1008, arenaBase + arenaSize - 600}},
		{false, frameSigmask, 8, []uint64{0, ^uint64(0), 1 << 10, 1 << 8}},
		{true, fxFCW, 2, []uint64{0x37f, 0x27f, 0x37e}},
		{true, fxMXCSR, 4, []uint64{0, initMXCSR, 0xffff, 0x10000, 0x20000, ^uint64(0)}},
		{true, swMagic1, 4, []uint64{0, magic1, magic2}},
		{true, swExtended, 4, []uint64{0, ^uint64(0)}},
		{true, swXFeatures, 8, masks},
		{true, swSize, 4, []uint64{0, 512, 576, 577, 4096}},
		{true, xsBV, 8, masks},
		{true, xsBV, 8, masks},
		{true, xsCompBV, 8, comps},
		{true, xsReserved, 8, []uint64{1, 1 << 63}},
		{true, xsReserved + 8, 8, []uint64{1}},
		{true, xsEnd - 8, 8, []uint64{1 << 63}},
		{true, uint64(x.Size), 4, []uint64{0, magic1}},
	}
	for i := range uint64(14) {
		fs = append(fs, field{false, frameGPRs + 8*i, 8, []uint64{0, nonCanonical, ^uint64(0)}})
	}
	for _, c := range x.Components {
		fs = append(fs, field{true, uint64(c.Offset), 8, []uint64{0, ^uint64(0)}})
	}
	return fs
}()

func randomRequest(rng *rand.Rand) *request {
	q := newRequest()
	if rng.IntN(2) == 0 {
		withAlt(uint64(rng.IntN(2)) * SSAutoDisarm)(q)
	}
	if rng.IntN(4) == 0 {
		q.Rsp = altBase + altSize - uint64(rng.IntN(256))
	}
	iret := false
	for range 1 + rng.IntN(4) {
		f := fields[rng.IntN(len(fields))]
		if !f.fp && (f.off == frameCS || f.off == frameSS || f.off == frameRIP) {
			if iret {
				continue // of two reasons to fault, IRET's choice differs between processors
			}
			iret = true
		}
		mu := mutation{Off: f.off, Size: f.size, Value: f.values[rng.IntN(len(f.values))]}
		if f.fp {
			mu.FP = 1
		}
		q.Mutation[q.Mutations] = mu
		q.Mutations++
	}
	return q
}
