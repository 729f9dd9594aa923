package signal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// The structures of testdata/calls.c.
type sysCall struct {
	Nr     uint64
	Arg    [4]uint64
	Rsp    uint64
	Memory [512]byte
}

type sysResult struct {
	Ret    int64
	Memory [512]byte
}

const sysArenaSize = 4096 // of which 512 bytes are compared

// sysPair executes calls natively and in the model.
type sysPair struct {
	in      io.Writer
	out     io.Reader
	actions *Actions
	thread  *ThreadState
}

func startCalls(t *testing.T) *sysPair {
	in, out := startFixture(t, "calls")
	return &sysPair{in: in, out: out, actions: NewActions(Table{}), thread: NewThreadState(0)}
}

// call executes one call on both sides and compares results and memory.
func (p *sysPair) call(t *testing.T, c *sysCall) {
	t.Helper()
	if err := binary.Write(p.in, le, c); err != nil {
		t.Fatal(err)
	}
	var want sysResult
	if err := binary.Read(p.out, le, &want); err != nil {
		t.Fatal(err)
	}
	mem := make(arena, sysArenaSize)
	copy(mem, c.Memory[:])
	if got := -int64(p.model(c, mem)); got != want.Ret {
		t.Errorf("%+v: native %v, model %v", c.header(), unix.Errno(-want.Ret), unix.Errno(-got))
	}
	if !bytes.Equal(mem[:512], want.Memory[:]) {
		t.Errorf("%+v: memory\nnative % x\nmodel  % x", c.header(), want.Memory[:128], mem[:128])
	}
}

func (c *sysCall) header() string {
	return fmt.Sprintf("call %d(%#x), rsp %#x, memory % x", c.Nr, c.Arg, c.Rsp, c.Memory[:40])
}

func (p *sysPair) model(c *sysCall, mem arena) unix.Errno {
	a := c.Arg
	switch c.Nr {
	case unix.SYS_RT_SIGACTION:
		_, e := p.actions.Sigaction(mem, int32(a[0]), a[1], a[2], a[3])
		return e
	case unix.SYS_RT_SIGPROCMASK:
		return p.thread.Sigprocmask(mem, int32(a[0]), a[1], a[2], a[3])
	case unix.SYS_SIGALTSTACK:
		return p.thread.Sigaltstack(mem, a[0], a[1], c.Rsp)
	case unix.SYS_RT_SIGPENDING:
		return p.thread.Sigpending(mem, 0, a[0], a[1])
	case unix.SYS_RT_SIGSUSPEND: // with arguments that fail
		return p.thread.Sigsuspend(mem, a[0], a[1])
	}
	panic(c.Nr)
}

const inArena = arenaBase // what is at this address is sysCall.Memory

func words(w ...uint64) (b [512]byte) {
	for i, v := range w {
		le.PutUint64(b[8*i:], v)
	}
	return b
}

var sysCases = []struct {
	name string
	c    sysCall
}{
	{"sigaction", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{10, inArena, inArena + 64, 8}, 0, words(0x1234, ^uint64(0), 0x5678, ^uint64(0))}},
	{"sigaction, read back", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{10, 0, inArena, 8}, 0, words()}},
	{"sigaction, same place", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{10, inArena, inArena, 8}, 0, words(1, 0x400)}},
	{"sigaction size 4", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{10, 0, 0, 4}, 0, words()}},
	{"sigaction size before address", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{10, 8, 0, 16}, 0, words()}},
	{"sigaction 0", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{0, 0, 0, 8}, 0, words()}},
	{"sigaction 64", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{64, 0, inArena, 8}, 0, words()}},
	{"sigaction 65", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{65, 0, inArena, 8}, 0, words()}},
	{"sigaction -1", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{^uint64(0), 0, inArena, 8}, 0, words()}},
	{"sigaction 2^32+10", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{1<<32 + 10, 0, inArena, 8}, 0, words()}},
	{"sigaction KILL, ask", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{9, 0, inArena, 8}, 0, words()}},
	{"sigaction KILL, set", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{9, inArena, 0, 8}, 0, words()}},
	{"sigaction STOP, set", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{19, inArena, 0, 8}, 0, words()}},
	{"sigaction bad address before bad signal", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{65, 8, 0, 8}, 0, words()}},
	{"sigaction bad old", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{12, inArena, 8, 8}, 0, words(0x99)}},
	{"sigaction bad old took effect", sysCall{unix.SYS_RT_SIGACTION, [4]uint64{12, 0, inArena, 8}, 0, words()}},

	{"sigprocmask block", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{0, inArena, inArena + 8, 8}, 0, words(^uint64(0))}},
	{"sigprocmask unblock", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{1, inArena, inArena + 8, 8}, 0, words(0xf0f0)}},
	{"sigprocmask ask", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{77, 0, inArena, 8}, 0, words()}},
	{"sigprocmask set", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{2, inArena, inArena, 8}, 0, words(0x100)}},
	{"sigprocmask bad how", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{3, inArena, inArena, 8}, 0, words(0x100)}},
	{"sigprocmask bad size", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{2, 8, inArena, 9}, 0, words(0x100)}},
	{"sigprocmask bad set before bad how", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{3, 8, inArena, 8}, 0, words()}},
	{"sigprocmask bad old", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{2, inArena, 8, 8}, 0, words(0x300)}},
	{"sigprocmask bad old took effect", sysCall{unix.SYS_RT_SIGPROCMASK, [4]uint64{2, 0, inArena, 8}, 0, words()}},

	{"sigpending", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{inArena, 8}, 0, words(7)}},
	{"sigpending 4 bytes", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{inArena, 4}, 0, words(^uint64(0))}},
	{"sigpending 0 bytes", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{inArena, 0}, 0, words(^uint64(0))}},
	{"sigpending 0 bytes, bad address", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{8, 0}, 0, words()}},
	{"sigpending 9 bytes", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{inArena, 9}, 0, words()}},
	{"sigpending bad address", sysCall{unix.SYS_RT_SIGPENDING, [4]uint64{8, 8}, 0, words()}},

	{"sigsuspend bad size", sysCall{unix.SYS_RT_SIGSUSPEND, [4]uint64{8, 4}, 0, words()}},
	{"sigsuspend bad address", sysCall{unix.SYS_RT_SIGSUSPEND, [4]uint64{8, 8}, 0, words()}},

	{"sigaltstack ask", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0, words(1, 2, 3)}},
	{"sigaltstack 2047", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0, words(0x1000, 0, 2047)}},
	{"sigaltstack 2048", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0, words(0x1000, 0, 2048)}},
	{"sigaltstack on it", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0x1400, words(0x2000, 0, 2048)}},
	{"sigaltstack on it, same", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0x1400, words(0x1000, 0, 2048)}},
	{"sigaltstack on it, ask", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0x1400, words()}},
	{"sigaltstack at its base", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0x1000, words()}},
	{"sigaltstack at its end", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0x1800, words()}},
	{"sigaltstack beyond its end", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0x1801, words()}},
	{"sigaltstack bad flags", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0, words(0x1000, 3, 4096)}},
	{"sigaltstack bad flags before small size", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0, words(0x1000, 4, 1)}},
	{"sigaltstack padding", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0, words(0x1000, 1<<40|1, 4096)}},
	{"sigaltstack autodisarm", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0, words(0x1000, SSAutoDisarm, 4096)}},
	{"sigaltstack autodisarm, on it", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0x1400, words(0x1000, SSAutoDisarm|1, 4096)}},
	{"sigaltstack bad new", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{8}, 0x1400, words()}},
	{"sigaltstack bad old", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, 8}, 0, words(0x3000, 0, 4096)}},
	{"sigaltstack bad old took effect", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0, words()}},
	{"sigaltstack disable", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0, words(0x1000, SSDisable, 1)}},
	{"sigaltstack disable, flags", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena}, 0, words(0, SSDisable|SSAutoDisarm, 0)}},
	{"sigaltstack disabled", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{0, inArena}, 0, words(9)}},
	{"sigaltstack wraps", sysCall{unix.SYS_SIGALTSTACK, [4]uint64{inArena, inArena + 64}, 0, words(^uint64(0)-100, 0, 4096)}},
}

// TestSystemCalls executes the cases in order, natively and in the model: later ones see the effects of earlier ones.
func TestSystemCalls(t *testing.T) {
	p := startCalls(t)
	for _, c := range sysCases {
		t.Run(c.name, func(t *testing.T) { p.call(t, &c.c) })
	}
}

// TestSystemCallsRandom is a random walk through the state that the calls share.
func TestSystemCallsRandom(t *testing.T) {
	p := startCalls(t)
	rng := rand.New(rand.NewPCG(4, 4))
	pick := func(v ...uint64) uint64 { return v[rng.IntN(len(v))] }
	address := func() uint64 { return pick(inArena, inArena+64, inArena+7, 0, 0, 8) }
	for range 4000 {
		c := &sysCall{Rsp: pick(0, 0x1000, 0x1400, 0x1800, inArena+0x900)}
		for i := range c.Memory[:128] {
			c.Memory[i] = byte(rng.Uint32())
		}
		switch rng.IntN(4) {
		case 0:
			c.Nr, c.Arg = unix.SYS_RT_SIGACTION, [4]uint64{rng.Uint64N(67), address(), address(), pick(8, 8, 8, 7)}
			if rng.IntN(2) == 0 {
				le.PutUint64(c.Memory[0:], pick(0, 1, 2))
			}
		case 1:
			c.Nr, c.Arg = unix.SYS_RT_SIGPROCMASK, [4]uint64{pick(0, 1, 2, 2, 3), address(), address(), pick(8, 8, 8, 0)}
		case 2:
			c.Nr, c.Arg = unix.SYS_RT_SIGPENDING, [4]uint64{address(), pick(8, 3, 16)}
		case 3:
			c.Nr, c.Arg = unix.SYS_SIGALTSTACK, [4]uint64{address(), address()}
			le.PutUint64(c.Memory[0:], pick(0x1000, 0, inArena, ^uint64(0)))
			le.PutUint64(c.Memory[8:], pick(0, 1, 2, 3, SSAutoDisarm, SSAutoDisarm|1, SSAutoDisarm|2, 4))
			le.PutUint64(c.Memory[16:], pick(0, 2047, 2048, 4096, ^uint64(0)))
		}
		if p.call(t, c); t.Failed() {
			return
		}
	}
}
