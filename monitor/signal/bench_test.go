package signal

import (
	"testing"

	"kmdev/monitor/kvm"
)

// BenchmarkDeliverAndReturn is the part of a signal's way that is this package's: the frame out and in again.
func BenchmarkDeliverAndReturn(b *testing.B) {
	s := bareFrame()
	m := s.again()
	act := Action{Handler: 0x40_1000, Flags: SASigInfo | SARestorer, Restorer: 0x40_2000}
	info := UserInfo(usr1, SIUser, 1, 0)
	*m.Regs = kvm.Regs{Rsp: arenaTop, Rip: 0x40_3000, Rflags: 0x202}
	b.ReportAllocs()
	for b.Loop() {
		if out := m.Deliver(act, &info); out.Kind != Done {
			b.Fatal(out)
		}
		m.Regs.Rsp += 8
		if out := m.Sigreturn(); out.Kind != Done {
			b.Fatal(out)
		}
	}
}
