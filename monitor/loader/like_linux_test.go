package loader

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loaded is one program loaded both ways.
type loaded struct {
	prog   *Program
	start  Start
	window *window
}

func load(t testing.TB, path string, argv, env []string) loaded {
	t.Helper()
	p, err := Open(path, argv, env, Options{NoRandomize: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w := newWindow(t)
	s, err := p.Map(w)
	if err != nil {
		t.Fatal(err)
	}
	return loaded{p, s, w}
}

// TestLikeLinux loads real programs and compares every page, every byte of memory and stack, the registers and the
// numbers of /proc/PID/stat with what the kernel makes of the same file.
func TestLikeLinux(t *testing.T) {
	gcc := func(flags ...string) func(testing.TB) string {
		return func(t testing.TB) string { return compile(t, "gcc", flags...) }
	}
	musl := func(flags ...string) func(testing.TB) string {
		return func(t testing.TB) string { return compile(t, "musl-gcc", flags...) }
	}
	golang := func(flags ...string) func(testing.TB) string {
		return func(t testing.TB) string { return compileGo(t, flags...) }
	}
	file := func(content string) func(testing.TB) string {
		return func(t testing.TB) string { return executable(t, content) }
	}
	cases := []struct {
		name  string
		build func(testing.TB) string
	}{
		{"static", gcc("-static")},
		{"static-pie", gcc("-static-pie")},
		{"static-pie aligned to 2 MiB", gcc("-static-pie", "-Wl,-z,max-page-size=0x200000")},
		{"pie", gcc("-pie", "-fPIE")},
		{"pie aligned to 2 MiB", gcc("-pie", "-fPIE", "-Wl,-z,max-page-size=0x200000")},
		{"pie linked high", gcc("-pie", "-fPIE", "-Wl,-Ttext-segment=0x40000000")},
		{"static-pie linked high", gcc("-static-pie", "-Wl,-Ttext-segment=0x40000000")},
		{"no-pie", gcc("-no-pie")},
		{"one segment, headers not loaded", gcc("-static", "-nostdlib", "-e", "main", "-Wl,-N")},
		{"code and headers in one segment", gcc("-no-pie", "-Wl,-z,noseparate-code")},
		{"executable stack", gcc("-static", "-z", "execstack")},
		{"musl static", musl("-static")},
		{"musl dynamic", musl()},
		{"go", golang()},
		{"go pie", golang("-buildmode=pie")},
		{"system program", func(testing.TB) string { return "/bin/true" }},
		{"interpreter as program", func(testing.TB) string { return "/lib64/ld-linux-x86-64.so.2" }},
		{"script", file("#!/bin/true\n")},
		{"script with argument", file("#! \t/bin/true  -x  y z \t \nrest\n")},
		{"script without newline", file("#!/bin/true -x")},
		{"script with NUL", file("#!/bin/true -x\x00y\nz")},
		{"script with a long argument", file("#!/bin/true " + strings.Repeat("a ", 300) + "\n")},
		{"tiny", func(t testing.TB) string { return executable(t, string(tinyELF().bytes())) }},
		{"tiny, junk in e_ident", func(t testing.TB) string {
			b := tinyELF().bytes()
			copy(b[4:16], bytes.Repeat([]byte{0xee}, 12))
			return executable(t, string(b))
		}},
		{"bss only in part of a page", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x600123, 0, 0, 0x2000, pfR|pfW)
			return executable(t, string(e.bytes()))
		}},
		{"read-only segment with bss", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x600000, 0, 0x80, 0x3000, pfR)
			return executable(t, string(e.bytes()))
		}},
		{"executable bss", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x600000, 0, 0x80, 0x3000, pfR|pfW|pfX)
			return executable(t, string(e.bytes()))
		}},
		{"segment without access", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x600000, 0, 0x80, 0x80, 0)
			return executable(t, string(e.bytes()))
		}},
		{"empty segment", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x600000, 0, 0, 0, pfR)
			return executable(t, string(e.bytes()))
		}},
		{"segments in descending order", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x300000, 0, 0x80, 0x80, pfR)
			return executable(t, string(e.bytes()))
		}},
		{"two segments in one page", func(t testing.TB) string {
			e := tinyELF()
			e.load(0x401800, 0x800, 0x10, 0x10, pfR)
			e.load(0x401900, 0x900, 0x10, 0x20, pfR|pfW)
			return executable(t, string(e.bytes()))
		}},
		{"program headers in no segment", func(t testing.TB) string {
			e := tinyELF()
			e.phoff = 0x1800
			return executable(t, string(e.bytes()))
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := c.build(t)
			argv, env := []string{"the name", "", "arg 2"}, []string{"A=1", "", "LONG=" + strings.Repeat("x", 5000)}
			ours := load(t, path, argv, env)
			v := execNative(t, path, argv, env, func(n *native) { compare(t, n, ours) })
			if v != (verdict{}) {
				t.Fatalf("natively: %v", v)
			}
		})
	}
}

func compare(t *testing.T, n *native, o loaded) {
	t.Helper()
	bias := auxValue(n.auxv, atEntry) - o.start.ProgEntry // native less ours
	interp := auxValue(n.auxv, atBase) - o.start.InterpBase
	comparePages(t, n, o, bias, interp)
	compareStack(t, n, o, bias)
	compareStat(t, n, o, bias)
	compareRegs(t, n, o, bias, interp)
}

// comparePages moves our pages to where the kernel put the two images.
func comparePages(t *testing.T, n *native, o loaded, bias, interp uint64) {
	t.Helper()
	moved, from := map[uint64]page{}, map[uint64]uint64{}
	for a, p := range o.window.pages {
		to := a + interp
		if a >= o.start.ExecLow && a < o.start.ExecHigh {
			to = a + bias
		}
		moved[to], from[to] = p, a
	}
	theirs := n.pages()
	if !maps.Equal(moved, theirs) {
		t.Fatalf("pages differ\nkernel:\n%sours:\n%s", describe(theirs), describe(moved))
	}
	for a, p := range theirs {
		if p.prot&unix.PROT_READ == 0 {
			continue
		}
		if k, l := n.read(t, a, pageSize), o.window.read(from[a], pageSize); !bytes.Equal(k, l) {
			i := firstDiff(k, l)
			t.Fatalf("page %#x differs at byte %#x: kernel %#x, ours %#x", a, i, k[i], l[i])
		}
	}
}

// compareStack demands that both stacks are equal in every word from RSP to the top, once addresses are made relative.
func compareStack(t *testing.T, n *native, o loaded, bias uint64) {
	t.Helper()
	vma := n.stackVMA(t)
	if got := vma.prot&unix.PROT_EXEC != 0; got != o.window.exec {
		t.Errorf("executable stack: kernel %v, ours %v", got, o.window.exec)
	}
	theirs := n.read(t, n.regs.Rsp, vma.end-n.regs.Rsp)
	ours := o.window.read(o.start.StackPointer, o.start.StackTop-o.start.StackPointer)
	if len(theirs) != len(ours) {
		t.Fatalf("stack: kernel's %d bytes from RSP to the top, ours %d", len(theirs), len(ours))
	}
	a := relative(theirs, n.regs.Rsp, vma.end, n.auxv)
	b := relative(ours, o.start.StackPointer, o.start.StackTop, o.start.Auxv())
	if i := firstDiff(a, b); i >= 0 {
		i &^= 7
		t.Fatalf("stack differs %#x bytes above RSP: kernel %#x, ours %#x\nkernel auxv %#x\nours %#x", i,
			le.Uint64(theirs[i:]), le.Uint64(ours[i:]), auxPairs(n.auxv), auxPairs(o.start.Auxv()))
	}
	if got := o.window.read(o.start.StackPointer, uint64(len(ours))); !bytes.Contains(got, o.start.Auxv()) {
		t.Error("Auxv() is not what lies on the stack")
	}
	if n := len(auxPairs(o.start.Auxv())); n > maxAuxEntries {
		t.Errorf("%d entries in auxv, more than maxAuxEntries", n)
	}
	if random := ours[o.start.Random-o.start.StackPointer:][:randomBytes]; bytes.Equal(random, make([]byte, randomBytes)) {
		t.Error("AT_RANDOM's bytes are all zero")
	}
}

// relative blanks what may differ between two stacks: pointers into the stack become offsets from its top, addresses
// of images and of the vDSO and the random bytes become zero.
func relative(stack []byte, sp, top uint64, auxv []byte) []byte {
	out := slices.Clone(stack)
	at := bytes.Index(out, auxv)
	for i := 0; i+8 <= at+len(auxv); i += 8 {
		if v := le.Uint64(out[i:]); v >= sp && v < top {
			le.PutUint64(out[i:], v-top)
		}
	}
	for i := at; i < at+len(auxv); i += 16 {
		switch le.Uint64(out[i:]) {
		case atPhdr, atEntry, atBase, atSysinfoEhdr:
			le.PutUint64(out[i+8:], 0)
		}
	}
	random := auxValue(auxv, atRandom) - sp
	copy(out[random:], make([]byte, randomBytes))
	return out
}

// compareStat compares with fields of proc_pid_stat(5), by number.
func compareStat(t *testing.T, n *native, o loaded, bias uint64) {
	t.Helper()
	s, top := &o.start, n.stackVMA(t).end-o.start.StackTop
	for _, f := range []struct {
		name    string
		field   int
		ours    uint64
		shifted uint64
	}{
		{"startcode", 26, s.StartCode, bias}, {"endcode", 27, s.EndCode, bias},
		{"startstack", 28, s.StackPointer, top},
		{"start_data", 45, s.StartData, bias}, {"end_data", 46, s.EndData, bias},
		{"arg_start", 48, s.ArgStart, top}, {"arg_end", 49, s.ArgEnd, top},
		{"env_start", 50, s.EnvStart, top}, {"env_end", 51, s.EnvEnd, top},
	} {
		if want := n.stat[f.field]; f.ours+f.shifted != want {
			t.Errorf("%s: kernel %#x, ours %#x (+%#x)", f.name, want, f.ours, f.shifted)
		}
	}
	floating := o.prog.exec.typ == etDyn && o.prog.interp == nil
	want := n.stat[47] - bias
	if floating {
		want = testPIEBase
	}
	if s.Brk != want || o.window.brk != s.Brk {
		t.Errorf("start_brk: kernel %#x, ours %#x", want, s.Brk)
	}
	if got := auxValue(n.auxv, atPhdr) - bias; got != auxValue(s.Auxv(), atPhdr) {
		t.Errorf("AT_PHDR: kernel %#x, ours %#x", got, auxValue(s.Auxv(), atPhdr))
	}
}

func compareRegs(t *testing.T, n *native, o loaded, bias, interp uint64) {
	t.Helper()
	r := n.regs
	shift := bias
	if o.prog.interp != nil {
		shift = interp
	}
	if r.Rip != o.start.Entry+shift {
		t.Errorf("RIP: kernel %#x, ours %#x", r.Rip, o.start.Entry)
	}
	general := []uint64{r.Rax, r.Rbx, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.Rbp, r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.Fs_base, r.Gs_base}
	for i, v := range general {
		if v != 0 {
			t.Errorf("general register %d is %#x natively; the package comment says 0", i, v)
		}
	}
	if r.Eflags != InitialRflags {
		t.Errorf("RFLAGS: kernel %#x, InitialRflags %#x", r.Eflags, InitialRflags)
	}
	if o.start.StackPointer%16 != 0 {
		t.Errorf("RSP %#x is not 16-byte aligned", o.start.StackPointer)
	}
}

// TestSecure compares a program that runs with other real than effective ids: AT_SECURE is 1.
func TestSecure(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change its real user id")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setRealUID := func(uid uintptr) {
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, 0, 0); e != 0 {
			t.Fatal(e)
		}
	}
	setRealUID(65534)
	defer setRealUID(0)
	path := executable(t, string(tinyELF().bytes()))
	o := load(t, path, []string{"x"}, nil)
	if v := execNative(t, path, []string{"x"}, nil, func(n *native) { compare(t, n, o) }); v != (verdict{}) {
		t.Errorf("natively: %v", v)
	}
	if auxValue(o.start.Auxv(), atSecure) != 1 || auxValue(o.start.Auxv(), atUID) != 65534 {
		t.Errorf("auxv %v", auxPairs(o.start.Auxv()))
	}
}

// TestSetAside keeps the tools of this test honest: without a compiler nearly all of it would be skipped.
func TestSetAside(t *testing.T) {
	if os.Getenv("CI") == "" {
		t.Skip("only CI demands the compilers")
	}
	for _, tool := range []string{"gcc", "musl-gcc", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Errorf("%s is needed to test the loader: %v", tool, err)
		}
	}
}
