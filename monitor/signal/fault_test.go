package signal

import (
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/kvm"
)

const rip = 0x40_1000

// TestFaults has the exceptions that frame_test.go cannot raise natively on every machine (arch/x86/kernel/traps.c).
func TestFaults(t *testing.T) {
	cases := []struct {
		name string
		f    Fault
		want Siginfo
		trap Trap
	}{
		{"#BR", Fault{Vector: VectorBR}, KernelInfo(segv), Trap{Number: 5}},
		{"#NM", Fault{Vector: VectorNM}, FaultInfo(int(unix.SIGILL), IllOpc, rip), Trap{Number: 7}},
		{"#TS", Fault{Vector: VectorTS, Err: 0x28}, KernelInfo(segv), Trap{Number: 10, Err: 0x28}},
		{"#NP", Fault{Vector: VectorNP, Err: 0x4}, KernelInfo(int(unix.SIGBUS)), Trap{Number: 11, Err: 4}},
		{"#CP", Fault{Vector: VectorCP, Err: 1}, FaultInfo(segv, SegvCp, 0), Trap{Number: 21, Err: 1}},
		{"#DB breakpoint register", Fault{Vector: VectorDB, DR6: 0xffff0ff2}, FaultInfo(int(unix.SIGTRAP), TrapHW, rip), Trap{Number: 1}},
		{"#DB step and register", Fault{Vector: VectorDB, DR6: 0x4001}, FaultInfo(int(unix.SIGTRAP), TrapStep, rip), Trap{Number: 1}},
		{"#DB INT1", Fault{Vector: VectorDB, DR6: 0xffff0ff0}, FaultInfo(int(unix.SIGTRAP), TrapBrk, rip), Trap{Number: 1}},
		{"an error code that #UD has not", Fault{Vector: VectorUD, Err: 7}, FaultInfo(int(unix.SIGILL), IllOpn, rip), Trap{Number: 6}},
		{"unknown vector", Fault{Vector: 30, Err: 9}, KernelInfo(segv), Trap{Number: 30, Err: 9}},
		{"poisoned", pageFault(4, 0x5000, PagePoisoned), poisoned(0x5000), Trap{14, 4, 0x5000}},
		{"protection key", Fault{Vector: VectorPF, Err: 0x25, CR2: 0x6000, Page: PageKey, Pkey: 3}, pkeyInfo(0x6000, 3), Trap{14, 0x25, 0x6000}},
		{"user bit", pageFault(0, 0x7000, PageUnmapped), FaultInfo(segv, SegvMap, 0x7000), Trap{14, 4, 0x7000}},
		{"kernel half", pageFault(6, 1<<63, PageUnmapped), FaultInfo(segv, SegvMap, 1<<63), Trap{14, 7, 1 << 63}},
	}
	regs := &kvm.Regs{Rip: rip}
	for _, c := range cases {
		got, ok := c.f.Info(regs)
		if !ok || got != c.want {
			t.Errorf("%s: %v\ngot  % x\nwant % x", c.name, ok, got[:40], c.want[:40])
		}
		th := NewThreadState(0)
		th.SetTrap(c.f)
		if th.Trap() != c.trap {
			t.Errorf("%s: trap %+v, want %+v", c.name, th.Trap(), c.trap)
		}
	}
}

func poisoned(addr uint64) Siginfo {
	i := FaultInfo(int(unix.SIGBUS), BusMceAR, addr)
	i.set32(offValue, 12)
	return i
}

func pkeyInfo(addr uint64, key int32) Siginfo {
	i := FaultInfo(segv, SegvPku, addr)
	i.set32(offPkey, key)
	return i
}

func TestFloatingPointFaults(t *testing.T) {
	cases := []struct {
		raised uint16
		code   int
	}{
		{0x01, FPEInv}, {0x02, FPEUnd}, {0x04, FPEDiv}, {0x08, FPEOvf}, {0x10, FPEUnd}, {0x20, FPERes},
		{0x21, FPEInv}, {0x28, FPEOvf}, {0x3f, FPEInv}, {0x00, 0},
	}
	for _, c := range cases {
		for _, f := range []Fault{
			{Vector: VectorMF, FP: FPStatus{FCW: 0x37f &^ c.raised, FSW: c.raised | 0x80, MXCSR: 0x3f}},
			{Vector: VectorXM, FP: FPStatus{FSW: 0x3f, MXCSR: uint32(c.raised) | 0x1f80&^(uint32(c.raised)<<7)}},
		} {
			info, ok := f.Info(&kvm.Regs{Rip: rip})
			if ok != (c.code != 0) {
				t.Errorf("vector %d, raised %#x: signal %v", f.Vector, c.raised, ok)
			} else if want := FaultInfo(int(unix.SIGFPE), c.code, rip); ok && info != want {
				t.Errorf("vector %d, raised %#x: code %d, want %d", f.Vector, c.raised, info.Code(), c.code)
			}
		}
	}
	masked := Fault{Vector: VectorXM, FP: FPStatus{MXCSR: 0x1fbf}}
	if _, ok := masked.Info(&kvm.Regs{}); ok {
		t.Error("masked exceptions raise a signal")
	}
}

func TestBadEntry(t *testing.T) {
	for addr, bad := range map[uint64]bool{
		0: false, rip: false, 1<<47 - 1: false, 1 << 47: true, 1<<63 - 1: true, 0xffff_7fff_ffff_ffff: true,
		0xffff_8000_0000_0000: false, ^uint64(0): false,
	} {
		if _, got := BadEntry(&kvm.Regs{Rip: addr}); got != bad {
			t.Errorf("%#x: %v", addr, got)
		}
	}
}
