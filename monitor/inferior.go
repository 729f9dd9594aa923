package monitor

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/debug"
	"kmdev/monitor/guest"
	"kmdev/monitor/kvm"
	"kmdev/monitor/memory"
	"kmdev/monitor/usermem"
)

// inferior is the machine as its debugger sees it.
type inferior struct{ m *Machine }

var _ debug.Inferior = inferior{}

// Inferior is the debugger's view of the machine.
func (m *Machine) Inferior() debug.Inferior { return inferior{m} }

func (i inferior) Hello() debug.Hello {
	m := i.m
	x := m.xstate()
	h := debug.Hello{Pid: m.pid, Exe: m.Exe(), Args: m.args, Window: usermem.Window, Size: usermem.Size, XCR0: m.host.XCR0, Waits: m.opts.Wait}
	h.Xsave.Size = x.Size
	for _, c := range x.Components {
		h.Xsave.Components = append(h.Xsave.Components, debug.XsaveComponent{Bit: c.Bit, Offset: c.Offset, Size: c.Size})
	}
	return h
}

// Attach holds m.mu, so that no thread comes or goes between the list and the first event.
func (i inferior) Attach(sink func(debug.Event)) []debug.Thread {
	m := i.m
	m.mu.Lock()
	m.debug.mu.Lock()
	m.debug.sink = sink
	m.debug.holdNew = false
	m.debug.attached.Store(sink != nil)
	if sink != nil {
		m.debug.pass.Store(^uint64(0))
	} else {
		m.debug.catch = catchSet{}
		m.debug.catching.Store(false)
	}
	list := m.threadList()
	m.debug.mu.Unlock()
	threads := append([]*Thread(nil), m.order...)
	m.mu.Unlock()
	if sink == nil {
		m.debug.removeAll(m.as)
		for _, t := range threads {
			t.want.And(^uint32(wantStop))
			m.debugResume(t, debug.Action{Tid: t.tid})
		}
	}
	return list
}

// threadList is under m.mu.
func (m *Machine) threadList() []debug.Thread {
	list := make([]debug.Thread, len(m.order))
	for n, t := range m.order {
		parked, stop := t.park.state()
		list[n] = debug.Thread{Tid: t.tid, Parked: parked, Stop: stop}
	}
	return list
}

func (i inferior) Threads() []debug.Thread {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	return i.m.threadList()
}

func (m *Machine) thread(tid int) (*Thread, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.threads[tid]; t != nil {
		return t, nil
	}
	return nil, debug.ErrNoThread
}

// parked finds a thread that must be parked; its registers may then be touched from here.
func (m *Machine) parked(tid int) (*Thread, error) {
	t, err := m.thread(tid)
	if err != nil {
		return nil, err
	}
	if p, _ := t.park.state(); !p {
		return nil, debug.ErrRunning
	}
	return t, nil
}

func (i inferior) Stop(tid int) error {
	m := i.m
	if tid != debug.AllThreads {
		t, err := m.thread(tid)
		if err != nil {
			return err
		}
		t.requestStop()
		return nil
	}
	m.debug.mu.Lock()
	m.debug.holdNew = true
	m.debug.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.order {
		t.requestStop()
	}
	return nil
}

func (i inferior) Resume(actions []debug.Action) error {
	m := i.m
	threads := make([]*Thread, len(actions))
	for n, a := range actions {
		t, err := m.parked(a.Tid)
		if err != nil {
			return err
		}
		threads[n] = t
	}
	m.debug.mu.Lock()
	m.debug.holdNew = false
	m.debug.mu.Unlock()
	for n, a := range actions {
		m.debugResume(threads[n], a)
	}
	return nil
}

func (i inferior) Regs(tid int) (debug.Regs, error) {
	t, err := i.m.parked(tid)
	if err != nil {
		return debug.Regs{}, err
	}
	r, s := &t.v.Run.Regs, &t.v.Run.Sregs
	return debug.Regs{
		R15: r.R15, R14: r.R14, R13: r.R13, R12: r.R12, Rbp: r.Rbp, Rbx: r.Rbx, R11: r.R11, R10: r.R10, R9: r.R9, R8: r.R8,
		Rax: r.Rax, Rcx: r.Rcx, Rdx: r.Rdx, Rsi: r.Rsi, Rdi: r.Rdi, OrigRax: uint64(t.call),
		Rip: r.Rip, Cs: guest.UserCS, Eflags: r.Rflags, Rsp: r.Rsp, Ss: guest.UserSS,
		FsBase: s.FS.Base, GsBase: s.GS.Base,
	}, nil
}

// userFlags are the bits of RFLAGS that a debugger may change (ptrace's FLAG_MASK).
const userFlags = 0x250dd5

func (i inferior) SetRegs(tid int, d *debug.Regs) error {
	t, err := i.m.parked(tid)
	if err != nil {
		return err
	}
	if d.FsBase >= 1<<47 || d.GsBase >= 1<<47 || d.Cs != guest.UserCS || d.Ss != guest.UserSS || d.Ds|d.Es|d.Fs|d.Gs != 0 {
		return unix.EIO
	}
	r, s := &t.v.Run.Regs, &t.v.Run.Sregs
	*r = kvm.Regs{
		R15: d.R15, R14: d.R14, R13: d.R13, R12: d.R12, Rbp: d.Rbp, Rbx: d.Rbx, R11: d.R11, R10: d.R10, R9: d.R9, R8: d.R8,
		Rax: d.Rax, Rcx: d.Rcx, Rdx: d.Rdx, Rsi: d.Rsi, Rdi: d.Rdi, Rip: d.Rip, Rsp: d.Rsp,
		Rflags: r.Rflags&^userFlags | d.Eflags&userFlags,
	}
	s.FS.Base, s.GS.Base = d.FsBase, d.GsBase
	t.call = max(int64(d.OrigRax), -1)
	return nil
}

func (i inferior) Xsave(tid int) ([]byte, error) {
	t, err := i.m.parked(tid)
	if err != nil {
		return nil, err
	}
	b, err := t.xsaveBuf()
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), b[:i.m.xstate().Size]...), nil
}

func (i inferior) SetXsave(tid int, area []byte) error {
	t, err := i.m.parked(tid)
	if err != nil {
		return err
	}
	b, err := t.xsaveBuf()
	if err != nil {
		return err
	}
	if len(area) > len(b) {
		return unix.EINVAL
	}
	copy(b, area)
	if t.v.SetXsave(b) != nil {
		return unix.EINVAL
	}
	return nil
}

func (i inferior) Siginfo(tid int) (debug.Siginfo, error) {
	t, err := i.m.parked(tid)
	if err != nil {
		return debug.Siginfo{}, err
	}
	_, stop := t.park.state()
	if stop.Reason != debug.StopSignal {
		var info debug.Siginfo
		info[0] = byte(unix.SIGTRAP)
		return info, nil
	}
	return stop.Siginfo, nil
}

func (i inferior) SetSiginfo(tid int, info *debug.Siginfo) error {
	t, err := i.m.parked(tid)
	if err != nil {
		return err
	}
	t.park.mu.Lock()
	t.park.stop.Siginfo = *info
	t.park.mu.Unlock()
	return nil
}

func (i inferior) ReadMemory(addr uint64, p []byte) (int, error) {
	return i.m.debug.read(i.m.as, addr, p)
}

func (i inferior) WriteMemory(addr uint64, p []byte) (int, error) {
	return i.m.debug.write(i.m.as, addr, p)
}

func (i inferior) VMAs() []debug.VMA {
	list := i.m.as.VMAs()
	out := make([]debug.VMA, len(list))
	for n, v := range list {
		offset := uint64(0)
		if v.Flags&memory.File != 0 {
			offset = v.Offset
		}
		out[n] = debug.VMA{Start: v.Start, End: v.End, Prot: uint8(v.Prot), Shared: v.Flags&memory.Shared != 0, Offset: offset,
			Major: unix.Major(v.Dev), Minor: unix.Minor(v.Dev), Inode: v.Ino, Name: v.Name}
	}
	return out
}

func (i inferior) Auxv() []byte { return i.m.start.Auxv() }

func (i inferior) InsertBreakpoint(b debug.Breakpoint) ([]byte, error) {
	if b.Kind != debug.Software && b.Kind != debug.Hardware {
		return nil, debug.ErrUnsupported
	}
	hidden, err := i.m.debug.insert(i.m.as, b.Kind, b.Addr)
	if err != nil {
		return nil, err
	}
	return []byte{hidden}, nil
}

func (i inferior) RemoveBreakpoint(b debug.Breakpoint) error {
	if b.Kind != debug.Software && b.Kind != debug.Hardware {
		return debug.ErrUnsupported
	}
	return i.m.debug.remove(i.m.as, b.Kind, b.Addr)
}

func (i inferior) PassSignals(set uint64) error {
	i.m.debug.pass.Store(set)
	return nil
}

func (i inferior) CatchSyscalls(all bool, nrs []int) error {
	d := &i.m.debug
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catch = catchSet{all: all}
	if len(nrs) > 0 {
		d.catch.nrs = map[int]bool{}
		for _, nr := range nrs {
			d.catch.nrs[nr] = true
		}
	}
	d.catching.Store(all || len(nrs) > 0)
	return nil
}

func (i inferior) Kill() error { return unix.Kill(i.m.pid, unix.SIGKILL) }
