package signal

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	usr1 = int(unix.SIGUSR1)
	segv = int(unix.SIGSEGV)
	chld = int(unix.SIGCHLD)
	term = int(unix.SIGTERM)
)

func set(t *testing.T, a *Actions, sig int, handler uint64) Change {
	t.Helper()
	_, ch, e := a.Set(sig, Action{Handler: handler})
	if e != 0 {
		t.Fatal(e)
	}
	return ch
}

func TestChange(t *testing.T) {
	a := NewActions(Table{})
	steps := []struct {
		sig     int
		handler uint64
		want    Change
		changes bool // of Ignored
	}{
		{term, 0x1000, Change{}, false},
		{term, SigIgn, Change{Discard: true}, true},
		{term, SigIgn, Change{Discard: true}, false},
		{term, SigDfl, Change{Unignored: true}, true},
		{chld, SigDfl, Change{Discard: true}, false},
		{chld, 0x1000, Change{Unignored: true}, true},
		{chld, 0x2000, Change{}, false},
		{chld, SigIgn, Change{Discard: true}, true},
		{chld, SigDfl, Change{Discard: true}, false},
	}
	for i, s := range steps {
		gen, ignored := a.Generation(), a.Ignored()
		if got := set(t, a, s.sig, s.handler); got != s.want {
			t.Errorf("step %d: %+v, want %+v", i, got, s.want)
		}
		if changed := a.Generation() != gen; changed != s.changes || changed != (a.Ignored() != ignored) {
			t.Errorf("step %d: generation changed: %v; ignored %v, before %v", i, changed, a.Ignored(), ignored)
		}
	}
}

func TestIgnoredByDefault(t *testing.T) {
	want := Of(chld, int(unix.SIGURG), int(unix.SIGWINCH), int(unix.SIGCONT))
	if got := NewActions(Table{}).Ignored(); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestExecAndFork(t *testing.T) {
	a := NewActions(Table{})
	full := Action{Handler: 0x1234, Flags: SASigInfo, Restorer: 5, Mask: 7}
	if _, _, e := a.Set(usr1, full); e != 0 {
		t.Fatal(e)
	}
	if _, _, e := a.Set(term, Action{Handler: SigIgn, Flags: SARestart, Restorer: 5, Mask: 7}); e != 0 {
		t.Fatal(e)
	}
	child := NewActions(a.Table())
	if child.Get(usr1) != full || child.Ignored() != a.Ignored() {
		t.Error("fork lost something")
	}
	set(t, child, usr1, SigDfl)
	if a.Get(usr1) != full {
		t.Error("the child's dispositions are the parent's")
	}
	program := NewActions(a.Table().Exec())
	if program.Get(usr1) != (Action{}) || program.Get(term) != (Action{Handler: SigIgn}) {
		t.Errorf("after exec: %+v, %+v", program.Get(usr1), program.Get(term))
	}
}

func TestHostileTable(t *testing.T) {
	var tab Table
	for i := range tab {
		tab[i].Handler = SigIgn
	}
	a := NewActions(tab)
	if a.Ignored()&Unblockable != 0 || a.Get(int(unix.SIGKILL)) != (Action{}) {
		t.Error("SIGKILL can be ignored")
	}
}

func TestTake(t *testing.T) {
	a := NewActions(Table{})
	for sig, want := range map[int]Disposition{
		term: Terminate, segv: Dump, chld: Ignore, int(unix.SIGCONT): Ignore, int(unix.SIGTSTP): StopProcess, 64: Terminate,
		int(unix.SIGKILL): Terminate, int(unix.SIGSTOP): StopProcess,
	} {
		if _, got := a.Take(sig); got != want {
			t.Errorf("%s: %v, want %v", Name(sig), got, want)
		}
	}
	set(t, a, term, SigIgn)
	if _, got := a.Take(term); got != Ignore {
		t.Errorf("SIG_IGN: %v", got)
	}
	act := Action{Handler: 0x1000, Flags: SAResetHand | SARestart}
	if _, _, e := a.Set(chld, act); e != 0 {
		t.Fatal(e)
	}
	gen := a.Generation()
	if got, d := a.Take(chld); d != Handle || got != act {
		t.Errorf("%v, %+v", d, got)
	}
	if a.Get(chld) != (Action{Flags: act.Flags}) || !a.Ignored().Has(chld) || a.Generation() == gen {
		t.Error("SA_RESETHAND did not make SIGCHLD default, thus ignored")
	}
}

func TestForce(t *testing.T) {
	cases := []struct {
		name    string
		handler uint64
		blocked Set
		want    uint64
	}{
		{"handled", 0x1000, 0, 0x1000},
		{"blocked", 0x1000, Of(segv, term), SigDfl},
		{"ignored", SigIgn, 0, SigDfl},
		{"default", SigDfl, 0, SigDfl},
	}
	for _, c := range cases {
		a, th := NewActions(Table{}), NewThreadState(c.blocked)
		set(t, a, segv, c.handler)
		a.Force(th, segv)
		if got := a.Get(segv).Handler; got != c.want {
			t.Errorf("%s: handler %#x", c.name, got)
		}
		if th.Blocked() != c.blocked.Without(segv) || a.Ignored().Has(segv) {
			t.Errorf("%s: blocked %v, ignored %v", c.name, th.Blocked(), a.Ignored())
		}
	}
}

// TestActionsConcurrently is for the race detector, and for Generation's promise: who finds the generation that it took
// before Ignored has missed nothing.
func TestActionsConcurrently(t *testing.T) {
	a := NewActions(Table{})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			th := NewThreadState(0)
			var gen uint64
			var mask Set
			for !stop.Load() {
				gen, mask = a.Generation(), th.HostMask(a)
				a.Take(term)
			}
			if now := th.HostMask(a); a.Generation() == gen && now != mask {
				t.Errorf("generation %d: %v and %v", gen, mask, now)
			}
		})
	}
	for range 1000 {
		set(t, a, term, SigDfl)
		set(t, a, term, SigIgn)
	}
	stop.Store(true)
	wg.Wait()
}
