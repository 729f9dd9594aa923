package signal

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/kvm"
)

// The structures of testdata/native.c.

const (
	arenaBase    = 0x2000_0000
	arenaSize    = 0x1_0000
	arenaFill    = 0xa5
	arenaTop     = arenaBase + arenaSize - 0x1008
	readOnlyPage = 0x1ff0_0000
	beyondPage   = 0x1fe0_0000 // of an empty file
	elsewhere    = 0x40_0000   // a stack pointer outside the arena, near the program itself
	maxMutations = 16
)

type mutation struct{ FP, Off, Size, Value uint64 }

type request struct {
	Trigger, Sig, Sig2, Sigreturn, Depth, Pending, Entry uint64
	Flags, SAMask, Restorer, Handler                     uint64
	AltSet, AltBase, AltSize, AltFlags                   uint64
	Mask, Rsp, Rflags, Features                          uint64
	Mutations                                            uint64
	Mutation                                             [maxMutations]mutation
	XS                                                   [4096]byte
}

type level struct {
	Before, After                    kvm.Regs
	Mask, AltBase, AltFlags, AltSize uint64
	XSBefore, XSAfter                [4096]byte
}

type wireReply struct {
	Status, Levels, Resumed              uint64
	Pid, Uid, Handler, Restorer, Catcher uint64
	Level                                [3]level
	Arena                                [arenaSize]byte
}

// reply is an answer of native.c, and what its children had from the start.
type reply struct {
	wireReply
	inherited Trap
}

// Triggers, in the order of native.c.
const (
	trigCall = iota
	trigUD2
	trigDiv
	trigInt3
	trigInt1
	trigInt4
	trigInt32
	trigHlt
	trigLoad
	trigStore
	trigStack
	trigJump
	trigAlign
	trigStep
	trigX87
	trigSSE
	trigMovaps
	trigSeg
)

// native is a running native.c.
type native struct {
	t   *testing.T
	in  io.Writer
	out io.Reader

	// inherited is the last fault of a thread that forked somewhere above: neither fork nor exec clears it.
	inherited Trap
}

// fixtures is where startFixture keeps what it has compiled.
var fixtures string

func TestMain(m *testing.M) {
	resetDispositions()
	dir, err := os.MkdirTemp("", "kmdev-signal-")
	if err != nil {
		panic(err)
	}
	fixtures = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// buildFixture compiles testdata/name.c, once.
func buildFixture(t *testing.T, name string) string {
	t.Helper()
	binary := filepath.Join(fixtures, name)
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	gcc := exec.Command("gcc", "-O1", "-static", "-no-pie", "-fno-pie", "-mno-red-zone", "-Wall", "-Werror",
		"-o", binary, filepath.Join("testdata", name+".c"))
	if msg, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	return binary
}

// startFixture runs a fixture until the test ends.
func startFixture(t *testing.T, name string) (io.Writer, io.Reader) {
	t.Helper()
	cmd := exec.Command(buildFixture(t, name))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return in, out
}

func startNative(t *testing.T) *native {
	t.Helper()
	if !cpu.HasXSAVE() {
		t.Skip("no XSAVE")
	}
	in, out := startFixture(t, "native")
	n := &native{t: t, in: in, out: out}
	plain := nativeFrame(n.run(newRequest()), 0)
	n.inherited = Trap{Number: plain.get(frameTrap), Err: plain.get(frameErr), CR2: plain.get(frameCR2)}
	return n
}

func (n *native) run(q *request) *reply {
	n.t.Helper()
	if err := binary.Write(n.in, le, q); err != nil {
		n.t.Fatal(err)
	}
	raw := make([]byte, binary.Size(wireReply{}))
	if _, err := io.ReadFull(n.out, raw); err != nil {
		n.t.Fatal(err)
	}
	r := &reply{inherited: n.inherited}
	if _, err := binary.Decode(raw, le, &r.wireReply); err != nil {
		n.t.Fatal(err)
	}
	return r
}

// arena is the memory that the native child had, as Mem.
type arena []byte

func newArena() arena { return bytes.Repeat([]byte{arenaFill}, arenaSize) }

func (a arena) at(gva uint64, n int) ([]byte, unix.Errno) {
	if gva < arenaBase || gva > arenaBase+uint64(len(a)) || uint64(n) > arenaBase+uint64(len(a))-gva {
		return nil, unix.EFAULT
	}
	return a[gva-arenaBase:][:n], 0
}

func (a arena) CopyIn(dst []byte, gva uint64) unix.Errno {
	b, e := a.at(gva, len(dst))
	copy(dst, b)
	return e
}

func (a arena) CopyOut(gva uint64, src []byte) unix.Errno {
	b, e := a.at(gva, len(src))
	copy(b, src)
	return e
}

// pattern is an XSAVE image in which every component holds recognisable bytes.
func pattern(x *cpu.XState) (img [4096]byte) {
	for i := fxST; i < fxXMMEnd; i++ {
		img[i] = byte(i*7 + 1)
	}
	for st := fxST; st < fxXMM; st += 16 {
		clear(img[st+10 : st+16]) // not stored
	}
	le.PutUint16(img[fxFCW:], 0x37f)
	le.PutUint16(img[fxFSW:], 0x3800) // TOP=7
	img[4] = 0x80                     // one register in use
	le.PutUint64(img[8:], 0x1234_5678)
	le.PutUint64(img[16:], 0x2345_6789)
	le.PutUint32(img[fxMXCSR:], 0x1fa1)
	le.PutUint32(img[fxMXCSRMask:], x.MXCSRMask)
	le.PutUint64(img[xsBV:], cpu.Legacy)
	for _, c := range x.Components {
		if c.Mask() == cpu.PKRU {
			continue
		}
		for i := range c.Size {
			img[c.Offset+i] = byte(uint32(c.Bit)*31 + i*3 + 1)
		}
		le.PutUint64(img[xsBV:], le.Uint64(img[xsBV:])|c.Mask())
	}
	return img
}

// newRequest is a tgkill of SIGUSR1 with a plain SA_SIGINFO handler.
func newRequest() *request {
	return &request{Sig: uint64(unix.SIGUSR1), Depth: 1, Flags: SASigInfo | SARestorer, Rsp: arenaTop,
		Features: cpu.UserXState().Features, XS: pattern(cpu.UserXState())}
}

// model is the same thread in this package.
type model struct {
	*Context
	arena arena
	fp    [4096]byte
}

func newModel(t *testing.T, q *request, r *reply) *model {
	t.Helper()
	entry := r.Handler
	if q.Entry != 0 {
		entry = q.Entry
	}
	m := &model{arena: newArena()}
	m.Context = &Context{
		Mem: m.arena, XState: cpu.UserXState(), Actions: NewActions(Table{}), Thread: NewThreadState(Set(q.Mask)),
		Regs: new(kvm.Regs), FP: m.fp[:],
	}
	m.Thread.trap = r.inherited
	for _, sig := range []uint64{q.Sig, q.Sig2} {
		if sig == 0 {
			continue
		}
		act := Action{Handler: entry, Flags: q.Flags, Restorer: r.Restorer, Mask: Set(q.SAMask)}
		if _, _, e := m.Actions.Set(int(sig), act); e != 0 {
			t.Fatal(e)
		}
	}
	if q.AltSet != 0 {
		if e := m.Thread.SetAltStack(AltStack{Base: q.AltBase, Size: q.AltSize, Flags: uint32(q.AltFlags)}, elsewhere); e != 0 {
			t.Fatal(e)
		}
	}
	return m
}
