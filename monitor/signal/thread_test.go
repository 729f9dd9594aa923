package signal

import (
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/kvm"
)

func TestTemporaryMask(t *testing.T) {
	th := NewThreadState(Of(usr1))
	th.SetTemporary(^Set(0))
	if th.Blocked() != ^Unblockable || th.maskToSave() != Of(usr1) {
		t.Errorf("blocked %v, to save %v", th.Blocked(), th.maskToSave())
	}
	th.SetTemporary(Of(term)) // a restarted call
	th.RestoreMask()
	if th.Blocked() != Of(usr1) {
		t.Errorf("restored %v", th.Blocked())
	}
	th.SetBlocked(Of(term))
	th.RestoreMask()
	if th.Blocked() != Of(term) {
		t.Errorf("restored twice: %v", th.Blocked())
	}

	th.SetTemporary(0)
	th.delivered(usr1, Action{Mask: Of(segv)})
	if th.Blocked() != Of(usr1, segv) {
		t.Errorf("in the handler: %v", th.Blocked())
	}
	th.RestoreMask()
	if th.Blocked() != Of(usr1, segv) {
		t.Error("the frame's mask was restored by hand")
	}
}

func TestHostMask(t *testing.T) {
	a, th := NewActions(Table{}), NewThreadState(Of(term))
	set(t, a, usr1, SigIgn)
	if got := th.HostMask(a); got != a.Ignored().With(term) || !got.Has(usr1) || got&Unblockable != 0 {
		t.Errorf("%v", got)
	}
}

func TestThreadInheritance(t *testing.T) {
	th := NewThreadState(Of(term))
	if e := th.SetAltStack(AltStack{Base: 0x1000, Size: 8192, Flags: SSAutoDisarm}, 0); e != 0 {
		t.Fatal(e)
	}
	th.SetTrap(Fault{Vector: VectorPF, Err: 4, CR2: 0x99})
	th.SetTemporary(0)

	child := th.Fork()
	if child.Blocked() != Of(term) || child.alt != th.alt || child.Trap() != th.Trap() {
		t.Errorf("fork: %+v", child)
	}
	thread := th.Clone()
	if thread.Blocked() != Of(term) || thread.alt != noAltStack {
		t.Errorf("clone: %+v", thread)
	}
	s := th.Snapshot()
	if again := RestoreThreadState(s); *again != *child {
		t.Errorf("snapshot: %+v, not %+v", again, child)
	}
	s.Alt = s.Alt.Exec()
	if alt := RestoreThreadState(s).AltStack(0); alt.Size != 0 || alt.Base != 0 || alt.Flags&SSDisable == 0 {
		t.Errorf("exec: %+v", alt)
	}
}

func TestRestart(t *testing.T) {
	const nr, rip = 77, 0x1002
	eintr := -int64(unix.EINTR)
	cases := []struct {
		ret                 int64
		handler, saRestart  bool
		wantRax, wantRipOff int64
	}{
		{5, true, true, 5, 0},
		{eintr, false, false, eintr, 0},
		{-ERestartSys, false, false, nr, -2},
		{-ERestartSys, true, false, eintr, 0},
		{-ERestartSys, true, true, nr, -2},
		{-ERestartNoIntr, false, false, nr, -2},
		{-ERestartNoIntr, true, false, nr, -2},
		{-ERestartNoIntr, true, true, nr, -2},
		{-ERestartNoHand, false, false, nr, -2},
		{-ERestartNoHand, true, false, eintr, 0},
		{-ERestartNoHand, true, true, eintr, 0},
		{-ERestartBlock, false, false, 219, -2},
		{-ERestartBlock, true, false, eintr, 0},
		{-ERestartBlock, true, true, eintr, 0},
		{-515, true, true, -515, 0}, // ENOIOCTLCMD: none of ours
	}
	for _, c := range cases {
		r := kvm.Regs{Rax: uint64(c.ret), Rip: rip, Rcx: rip}
		Restart(c.ret, c.handler, c.saRestart).Apply(&r, nr)
		if want := (kvm.Regs{Rax: uint64(c.wantRax), Rip: uint64(rip + c.wantRipOff), Rcx: rip}); r != want {
			t.Errorf("%+v: rax %d, rip %#x", c, int64(r.Rax), r.Rip)
		}
	}
}

func TestSetNext(t *testing.T) {
	s := Of(64, 34, segv, int(unix.SIGSYS), term, 1)
	var order []int
	for s != 0 {
		sig := s.Next()
		order = append(order, sig)
		s = s.Without(sig)
	}
	want := []int{segv, int(unix.SIGSYS), 1, term, 34, 64}
	for i, sig := range want {
		if i >= len(order) || order[i] != sig {
			t.Fatalf("order %v, want %v", order, want)
		}
	}
	if Set(0).Next() != 0 || Of(0, 65, -1) != 0 || Set(0).Has(0) {
		t.Error("what is no signal is in a set")
	}
}
