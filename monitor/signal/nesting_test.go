package signal

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPendingOrder unblocks two pending signals at once, natively and in the model: both get their frames before the
// payload goes on, in Linux's order, so that the second's handler runs first.
func TestPendingOrder(t *testing.T) {
	n := startNative(t)
	pairs := [][2]unix.Signal{
		{unix.SIGUSR1, unix.SIGUSR2}, {unix.SIGUSR2, unix.SIGUSR1}, {unix.SIGHUP, unix.SIGSEGV}, {unix.SIGTRAP, unix.SIGINT},
		{unix.SIGSYS, unix.SIGBUS}, {64, 34}, {40, unix.SIGTERM},
	}
	for _, pair := range pairs {
		for _, mask := range []Set{0, ^Set(0)} {
			t.Run(fmt.Sprintf("%s %s mask %x", Name(int(pair[0])), Name(int(pair[1])), uint64(mask)), func(t *testing.T) {
				q := newRequest()
				q.Pending, q.Sig, q.Sig2, q.SAMask = 1, uint64(pair[0]), uint64(pair[1]), uint64(mask)
				q.Mask = uint64(Of(int(pair[0]), int(pair[1])))
				runPending(t, n, q)
			})
		}
	}
}

// runPending does rt_sigprocmask and both signals, down to where the payload goes on.
func runPending(t *testing.T, n *native, q *request) {
	r := n.run(q)
	m := newModel(t, q, r)
	before := &r.Level[0]
	*m.Regs = before.Before
	copy(m.FP, before.XSBefore[:])
	m.Regs.Rax, m.Regs.Rcx, m.Regs.R11 = 0, m.Regs.Rip, m.Regs.Rflags
	m.Thread.SetBlocked(0)
	pending := Of(int(q.Sig), int(q.Sig2))
	for i := range 3 {
		for deliverable := pending; deliverable != 0; deliverable = pending &^ m.Thread.Blocked() {
			sig := deliverable.Next()
			pending = pending.Without(sig)
			if died := m.deliver(UserInfo(sig, SITkill, int(r.Pid), uint32(r.Uid))); died != 0 {
				t.Fatalf("died of %v", died)
			}
		}
		if i == 2 {
			m.Regs.Rip = r.Level[i].After.Rip // a jump further on
		}
		m.compare(t, i, &r.Level[i])
		if i < 2 {
			m.Regs.Rsp += 8
			m.Regs.Rflags = 0x202
			if out := m.Sigreturn(); out.Kind != Done {
				t.Fatalf("sigreturn: %+v", out)
			}
		}
	}
	if r.Levels != 3 || r.Resumed != 1 {
		t.Fatalf("native: %d levels, status %#x", r.Levels, r.Status)
	}
	compareArena(t, r.Arena[:], m.arena, 0)
}

// TestForced has handlers that cannot be entered: the SIGSEGV that comes of it has a handler, on the alternate stack.
func TestForced(t *testing.T) {
	cases := []struct {
		name string
		edit func(*request)
	}{
		{"stack overflow", func(q *request) { q.Rsp = arenaBase + 0x40 }},
		{"only the FP state fits", func(q *request) { q.Rsp = arenaBase + 0xa80 }},
		{"no restorer", func(q *request) { q.Flags &^= SARestorer }},
		{"handler non-canonical", func(q *request) { q.Entry = nonCanonical }},
		{"handler non-canonical, SIGSEGV masked", func(q *request) {
			q.Entry = nonCanonical
			q.SAMask = uint64(Of(int(unix.SIGSEGV)))
		}},
		{"SIGSEGV blocked", func(q *request) { q.Rsp = 0; q.Mask = uint64(Of(int(unix.SIGSEGV))) }},
	}
	n := startNative(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := newRequest()
			withAlt(0)(q)
			q.Flags &^= SAOnStack
			q.Sigreturn = 1
			c.edit(q)
			r := n.run(q)
			m := newModel(t, q, r)
			m.installCatcher(t, r)
			died := m.takeSignal(t, q, r, 0, nil)
			if native := unix.WaitStatus(r.Status); native.Signaled() != (died != 0) || died != 0 && native.Signal() != died {
				t.Fatalf("native status %#x, model died of %v", r.Status, died)
			}
			if died == 0 {
				m.compare(t, 0, &r.Level[0])
				compareArena(t, r.Arena[:], m.arena, 0)
			}
		})
	}
}

func (m *model) installCatcher(t *testing.T, r *reply) {
	t.Helper()
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGTRAP} {
		act := Action{Handler: r.Catcher, Flags: SASigInfo | SAOnStack | SARestorer, Restorer: r.Restorer}
		if _, _, e := m.Actions.Set(int(sig), act); e != 0 {
			t.Fatal(e)
		}
	}
}
