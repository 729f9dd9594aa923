package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

func ld(off uint32) Insn              { return Insn{bpfLD | bpfABS, 0, 0, off} }
func ret(v uint32) Insn               { return Insn{bpfRET | bpfK, 0, 0, v} }
func jeq(v uint32, jt, jf uint8) Insn { return Insn{bpfJMP | bpfJEQ | bpfK, jt, jf, v} }

// denies answers ERRNO e for hypercall nr and allows the rest.
func denies(nr uint32, e unix.Errno) []Insn {
	return []Insn{ld(0), jeq(nr, 0, 1), ret(Errno | uint32(e)), ret(Allow)}
}

func attach(t *testing.T, f *Filter, prog []Insn) *Filter {
	t.Helper()
	if !Check(prog) {
		t.Fatalf("refused: %v", prog)
	}
	f, e := f.Attach(prog, false)
	if e != 0 {
		t.Fatal(e)
	}
	return f
}

func TestChain(t *testing.T) {
	first := attach(t, nil, denies(1, unix.EPERM))
	second := attach(t, first, denies(1, unix.EACCES))
	third := attach(t, second, []Insn{ld(0), jeq(2, 0, 1), ret(KillProcess), ret(Log)})
	for _, c := range []struct {
		f    *Filter
		nr   uint32
		want uint32
	}{
		{nil, 1, Allow}, {first, 1, Errno | uint32(unix.EPERM)}, {first, 2, Allow},
		{second, 1, Errno | uint32(unix.EACCES)}, // the latest of equally severe ones
		{third, 1, Errno | uint32(unix.EACCES)}, {third, 2, KillProcess}, {third, 3, Log},
	} {
		if got, _ := c.f.Run(&Data{Nr: c.nr}); got != c.want {
			t.Errorf("nr %d of %d programs: %#x, want %#x", c.nr, c.f.Len(), got, c.want)
		}
	}
	other := attach(t, nil, denies(1, unix.EPERM))
	for _, c := range []struct {
		f, old *Filter
		want   bool
	}{{third, nil, true}, {third, first, true}, {third, third, true}, {first, third, false}, {third, other, false}, {nil, nil, true}} {
		if c.f.Has(c.old) != c.want {
			t.Errorf("Has of %d in %d: %v", c.old.Len(), c.f.Len(), !c.want)
		}
	}
}

func TestData(t *testing.T) {
	d := &Data{Nr: 0x01020304, Arch: ArchX86_64, IP: 0x1111111122222222, Args: [6]uint64{0xa1a1a1a1b1b1b1b1, 2, 3, 4, 5, 0xa6a6a6a6b6b6b6b6}}
	for off, want := range map[uint32]uint32{0: 0x01020304, 4: ArchX86_64, 8: 0x22222222, 12: 0x11111111, 16: 0xb1b1b1b1, 20: 0xa1a1a1a1, 24: 2, 28: 0, 56: 0xb6b6b6b6, 60: 0xa6a6a6a6} {
		f := attach(t, nil, []Insn{ld(off), {bpfRET | bpfA, 0, 0, 0}})
		if got := run(f.prog, d); got != want {
			t.Errorf("word at %d: %#x, want %#x", off, got, want)
		}
	}
}

func TestAttachLimits(t *testing.T) {
	long := make([]Insn, MaxInsns)
	for i := range long {
		long[i] = ret(Allow)
	}
	if !Check(long) || Check(append(long, ret(Allow))) || Check(nil) {
		t.Error("lengths")
	}
	var f *Filter
	for range 7 {
		f = attach(t, f, long)
	}
	if _, e := f.Attach(long, false); e != unix.ENOMEM {
		t.Errorf("a path of %d instructions: %v", 8*MaxInsns+7*penalty, e)
	}
	if g, e := f.Attach(long[:4000], false); e != 0 || g.Len() != 8 {
		t.Errorf("a shorter one: %v", e)
	}
}

func TestHandOver(t *testing.T) {
	f := attach(t, attach(t, nil, denies(1, unix.EPERM)), denies(2, unix.EACCES))
	f, _ = f.Attach(denies(3, unix.ENOENT), true)
	g, err := ReadFilter(f.Append(nil))
	if err != nil || g.Len() != 3 || g.total != f.total {
		t.Fatalf("%d programs, %v", g.Len(), err)
	}
	for nr := range uint32(5) {
		want, wantLog := f.Run(&Data{Nr: nr})
		if got, log := g.Run(&Data{Nr: nr}); got != want || log != wantLog {
			t.Errorf("nr %d: %#x %v, want %#x %v", nr, got, log, want, wantLog)
		}
	}
	if g, err := ReadFilter(nil); g != nil || err != nil {
		t.Errorf("no bytes: %v, %v", g, err)
	}
	whole := f.Append(nil)
	for n := range len(whole) {
		if g, err := ReadFilter(whole[:n]); err == nil && g.Len() == 3 {
			t.Errorf("%d of %d bytes are three programs", n, len(whole))
		}
	}
}

// randomProgram makes one that is often valid: every instruction of the classes that exist, jumps that mostly stay inside.
func randomProgram(r *rand.Rand) []Insn {
	var codes []uint16
	for c, how := range allowed {
		if how != 0 {
			codes = append(codes, uint16(c))
		}
	}
	n := 1 + r.IntN(12)
	prog := make([]Insn, n)
	for i := range prog {
		in := Insn{Code: codes[r.IntN(len(codes))], JT: uint8(r.IntN(4)), JF: uint8(r.IntN(4)), K: r.Uint32N(20)}
		switch r.IntN(12) {
		case 0:
			in.Code = uint16(r.Uint32N(256))
		case 1:
			in.K = r.Uint32()
		case 2:
			in.K = 4 * r.Uint32N(17)
		}
		prog[i] = in
	}
	if r.IntN(8) != 0 {
		prog[n-1] = ret(Allow)
	}
	return prog
}

// TestCheckAsTheKernel compares Check with the host kernel's own verdict, for random programs.
func TestCheckAsTheKernel(t *testing.T) {
	k := newOracle(t)
	defer k.close()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	valid := 0
	for range 20000 {
		prog := randomProgram(r)
		got, want := Check(prog), k.valid(t, prog)
		if got != want {
			t.Fatalf("seed %d: Check(%v) = %v, the kernel says %v", seed, prog, got, want)
		}
		if want {
			valid++
		}
	}
	if valid < 100 {
		t.Errorf("only %d of 20000 programs were valid: the test looks at too little", valid)
	}
}

// computing makes a valid program that computes on d and ends in the errno that A holds then.
func computing(r *rand.Rand) []Insn {
	ops := []uint16{bpfADD, bpfSUB, bpfMUL, bpfDIV, bpfOR, bpfAND, bpfXOR, bpfLSH, bpfRSH}
	jumps := []uint16{bpfJEQ, bpfJGT, bpfJGE, bpfJSET}
	prog := []Insn{ld(16), {bpfST, 0, 0, 3}, {bpfMISC | bpfTAX, 0, 0, 0}, {bpfSTX, 0, 0, 5}, ld(24)}
	for range 30 {
		switch r.IntN(6) {
		case 0:
			prog = append(prog, ld(4*r.Uint32N(2)+16+8*r.Uint32N(6)))
		case 1:
			prog = append(prog, Insn{bpfMISC | [2]uint16{bpfTAX, bpfTXA}[r.IntN(2)], 0, 0, 0})
		case 2:
			prog = append(prog, Insn{[4]uint16{bpfLD | bpfMEM, bpfLDX | bpfMEM, bpfST, bpfSTX}[r.IntN(4)], 0, 0, [2]uint32{3, 5}[r.IntN(2)]})
		case 3:
			prog = append(prog, Insn{bpfJMP | jumps[r.IntN(4)] | bpfX*uint16(r.IntN(2)), uint8(r.IntN(2)), uint8(r.IntN(2)), r.Uint32N(1 << r.Uint32N(32))},
				Insn{bpfALU | bpfNEG, 0, 0, 0})
		case 4:
			prog = append(prog, Insn{bpfALU | ops[r.IntN(len(ops))] | bpfX, 0, 0, 0})
		default:
			prog = append(prog, Insn{bpfALU | ops[r.IntN(len(ops))], 0, 0, 1 + r.Uint32N(31)})
		}
	}
	return append(prog, Insn{bpfALU | bpfAND, 0, 0, 0x7ff}, Insn{bpfALU | bpfOR, 0, 0, Errno}, Insn{bpfRET | bpfA, 0, 0, 0})
}

// TestRunAsTheKernel compares run with programs that the host kernel has run.
func TestRunAsTheKernel(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		prog := computing(r)
		args := [6]uint64{r.Uint64(), r.Uint64N(100), r.Uint64(), 0, ^uint64(0), 1 << r.Uint64N(64)}
		if !Check(prog) {
			t.Fatalf("seed %d: refused: %v", seed, prog)
		}
		got := run(prog, &Data{Nr: oracleCall, Arch: ArchX86_64, Args: args})
		if got == 0 {
			continue // a division by zero, which would kill
		}
		if want := kernelResult(t, prog, args); got != Errno|uint32(want) {
			t.Fatalf("seed %d: run(%v) with %#x = %#x, the kernel says errno %d", seed, prog, args, got, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	seed := func(prog []Insn) {
		g, _ := (*Filter)(nil).Attach(prog, false)
		f.Add(g.Append(nil))
	}
	seed(denies(1, unix.EPERM))
	seed(computing(rand.New(rand.NewPCG(1, 2))))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever Check passes runs to an end, on any data.
		for _, at := range []int{0, 3} {
			if prog := DecodeProgram(b[min(at, len(b)):]); Check(prog) {
				run(prog, &Data{Nr: 1, Arch: ArchX86_64, IP: 2, Args: [6]uint64{3, 4, 5, 6, 7, 8}})
			}
		}
		g, err := ReadFilter(b)
		if err != nil {
			return
		}
		if again := g.Append(nil); string(again) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func encode(prog []Insn) []byte {
	var b []byte
	for _, in := range prog {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = binary.LittleEndian.AppendUint32(append(b, in.JT, in.JF), in.K)
	}
	return b
}
