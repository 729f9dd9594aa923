package monitor

import (
	"math/bits"

	"kmdev/monitor/procview"
	"kmdev/monitor/signal"

	"golang.org/x/sys/unix"
)

// view is what the payload's files say of the process in place of the host's.
func (r *procRequest) view() *procview.View {
	v := &procview.View{FDSize: fdSize(r.MaxFD())}
	s := r.space()
	host := r.Read("maps")
	if pages, err := r.Open("pagemap"); err == nil {
		v.Monitor = s.MonitorResident(host, func(b []byte, off int64) (int, error) { return unix.Pread(pages, b, off) })
		unix.Close(pages)
	}
	if r.Own {
		r.t.m.describe(v)
		r.t.m.describeThread(v, r.t, r.Tid)
		return v
	}
	r.Relative.(*relative).describe(v, r.Tid)
	v.HostAddresses(r.Read("stat"), s.Window, s.Size)
	v.Sizes = s.Sizes(host)
	return v
}

// describe fills in what is known of this process.
func (m *Machine) describe(v *procview.View) {
	v.Threads = m.Threads()
	v.Caught, v.Ignored = m.actionSets()
	v.Limits = m.Rlimits()
	v.NoNewPrivs = noNewPrivs()
	u := m.as.Usage()
	v.Sizes = procview.Sizes{Total: u.Total, Peak: u.Peak, Data: u.Data, Stack: u.Stack, Exec: u.Exec}
	s := &m.start
	v.Addresses = procview.Addresses{
		StartCode: s.StartCode, EndCode: s.EndCode, StartData: s.StartData, EndData: s.EndData,
		ArgStart: s.ArgStart, ArgEnd: s.ArgEnd, EnvStart: s.EnvStart, EnvEnd: s.EnvEnd,
	}
	v.StartBrk, v.StartStack = u.BrkStart, s.StackPointer
}

// actionSets are the signals with a handler and those that are ignored.
func (m *Machine) actionSets() (caught, ignored uint64) {
	var c, i signal.Set
	for n, a := range m.actions.Table() {
		switch a.Handler {
		case signal.SigDfl:
		case signal.SigIgn:
			i = i.With(n + 1)
		default:
			c = c.With(n + 1)
		}
	}
	return uint64(c), uint64(i)
}

// describeThread fills in what is thread tid's. Of another thread than t, the mask is what it last entered the guest with.
func (m *Machine) describeThread(v *procview.View, t *Thread, tid int) {
	m.mu.Lock()
	o := m.threads[tid]
	m.mu.Unlock()
	if o == nil {
		return // the first thread, which has exited
	}
	v.Blocked = o.block.Blocked()
	if o == t {
		v.Blocked = uint64(t.sig.Blocked())
	}
	c := o.confined.Load()
	v.Seccomp, v.Filters = c.mode(), uint64(c.chain().Len())
}

// fdSize is how large Linux makes a descriptor table that holds number highest (alloc_fdtable).
func fdSize(highest int) int {
	const embedded, first = 64, 128
	if highest < embedded {
		return embedded
	}
	return max(first, 1<<bits.Len(uint(highest)))
}
