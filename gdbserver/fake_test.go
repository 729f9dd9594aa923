package gdbserver

import (
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// fake is a process in memory: a toy machine whose every instruction is one byte long and does nothing. Execution that
// reaches codeEnd exits with status 7. Threads that continue do so forever if they are at spin.
type fake struct {
	mu      sync.Mutex
	events  chan target.Event
	regs    map[int]*target.Regs
	xsave   map[int][]byte
	order   []int
	memory  []region
	breaks  map[target.Breakpoint]bool
	running bool
	ended   bool
	stop    target.Stop
	pass    target.SignalSet
	siginfo target.Siginfo
	deliver target.SignalSet
	log     []string // what was done to it
	resumed []target.Action
}

type region struct {
	addr uint64
	data []byte
	prot target.Prot
}

const (
	codeStart = 0x400000
	codeEnd   = 0x401000
	spin      = codeStart + 0x800
	dataStart = 0x600000
	fakePid   = 100
	fakeTid   = 101
)

var fakeLayout = target.XsaveLayout{Size: 2696, Components: []target.XsaveComponent{
	{Bit: 2, Offset: 576, Size: 256}, {Bit: 5, Offset: 1088, Size: 64}, {Bit: 6, Offset: 1152, Size: 512},
	{Bit: 7, Offset: 1664, Size: 1024}, {Bit: 9, Offset: 2688, Size: 8}}}

// newFake is stopped at its start.
func newFake() *fake {
	f := &fake{events: make(chan target.Event, 4), regs: map[int]*target.Regs{}, xsave: map[int][]byte{}, breaks: map[target.Breakpoint]bool{}}
	for i, tid := range []int{fakePid, fakeTid} {
		f.order = append(f.order, tid)
		f.regs[tid] = &target.Regs{Rip: codeStart + uint64(i)*0x100, Rsp: dataStart + 0x800, Rbp: dataStart + 0x900, FsBase: dataStart + 0x1000,
			OrigRax: ^uint64(0), Cs: 0x33, Ss: 0x2b}
		f.xsave[tid] = make([]byte, fakeLayout.Size)
	}
	code := make([]byte, codeEnd-codeStart)
	for i := range code {
		code[i] = byte(i)
	}
	f.memory = []region{{codeStart, code, target.Read | target.Exec}, {dataStart, make([]byte, 0x2000), target.Read | target.Write}}
	f.stop = target.Stop{Tid: fakePid, Reason: target.StopStart, Regs: *f.regs[fakePid]}
	return f
}

func (f *fake) note(what string) { f.log = append(f.log, what) }

func (f *fake) Info() target.Info {
	return target.Info{Pid: fakePid, Exe: "/bin/fake", Args: []string{"fake", "an arg"}, XCR0: 0x2e7, Xsave: fakeLayout}
}

func (f *fake) Threads() ([]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order), nil
}

func (f *fake) Thread(tid int) (target.Thread, error) {
	if tid != fakePid && tid != fakeTid {
		return target.Thread{}, target.ErrNoThread
	}
	return target.Thread{Tid: tid, Name: "fa<ke", Core: 3}, nil
}

// at gives a stopped thread's registers. mu is held.
func (f *fake) at(tid int) (*target.Regs, error) {
	switch {
	case f.ended:
		return nil, target.ErrGone
	case f.running:
		return nil, target.ErrRunning
	case f.regs[tid] == nil:
		return nil, target.ErrNoThread
	}
	return f.regs[tid], nil
}

func (f *fake) Registers(tid int) (target.Regs, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, err := f.at(tid)
	if err != nil {
		return target.Regs{}, err
	}
	return *r, nil
}

func (f *fake) SetRegisters(tid int, r *target.Regs) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := f.at(tid)
	if err == nil {
		*old = *r
	}
	return err
}

func (f *fake) Extended(tid int) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.at(tid)
	return f.xsave[tid], err
}

func (f *fake) SetExtended(tid int, area []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.at(tid)
	if err == nil {
		f.xsave[tid] = slices.Clone(area)
	}
	return err
}

func (f *fake) Siginfo(tid int) (target.Siginfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.at(tid)
	return f.siginfo, err
}

func (f *fake) SetSiginfo(tid int, info *target.Siginfo) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.at(tid)
	if err == nil {
		f.siginfo = *info
	}
	return err
}

// access moves bytes between p and memory up to a hole.
func (f *fake) access(addr uint64, p []byte, write bool) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.memory {
		if addr < m.addr || addr-m.addr >= uint64(len(m.data)) {
			continue
		}
		n := 0
		if there := m.data[addr-m.addr:]; write {
			n = copy(there, p)
		} else {
			n = copy(p, there)
		}
		if n < len(p) {
			return n, &target.MemoryError{Addr: addr + uint64(n)}
		}
		return n, nil
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, &target.MemoryError{Addr: addr}
}

func (f *fake) ReadMemory(addr uint64, p []byte) (int, error)  { return f.access(addr, p, false) }
func (f *fake) WriteMemory(addr uint64, p []byte) (int, error) { return f.access(addr, p, true) }

func (f *fake) Maps() (maps []target.Mapping, err error) {
	for _, m := range f.memory {
		maps = append(maps, target.Mapping{Start: m.addr, End: m.addr + uint64(len(m.data)), Prot: m.prot, Name: "/bin/fake"})
	}
	return maps, nil
}

func (f *fake) Auxv() ([]byte, error) {
	var p []byte
	for _, v := range []uint64{9, codeStart, 0, 0} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return p, nil
}

func (f *fake) Stopped() (target.Stop, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stop, !f.running && !f.ended
}

func (f *fake) Events() <-chan target.Event { return f.events }

// halt stops the machine and tells. mu is held.
func (f *fake) halt(stop target.Stop) {
	f.running = false
	stop.Regs = *f.regs[stop.Tid]
	f.stop = stop
	f.events <- target.Event{Kind: target.EventStopped, Pid: fakePid, Tid: stop.Tid, Stop: stop}
}

func (f *fake) exit(status target.WaitStatus) {
	f.running, f.ended = false, true
	f.events <- target.Event{Kind: target.EventExited, Pid: fakePid, Status: status}
	close(f.events)
}

// Resume runs the machine to its next stop, one thread after the other.
func (f *fake) Resume(actions []target.Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return target.ErrGone
	case f.running:
		return target.ErrRunning
	}
	f.running, f.resumed = true, slices.Clone(actions)
	moved := false
	for _, kind := range []target.ActionKind{target.Step, target.Continue} { // a stepped thread is faster
		for _, tid := range f.order {
			a, ok := first(actions, tid)
			if !ok || a.Kind != kind {
				continue
			}
			moved = true
			if f.thread(tid, a) {
				return nil
			}
		}
	}
	if !moved {
		f.running = false
		f.events <- target.Event{Kind: target.EventNoResumed, Pid: fakePid}
	}
	return nil
}

func first(actions []target.Action, tid int) (target.Action, bool) {
	for _, a := range actions {
		if a.Tid == 0 || a.Tid == tid {
			return a, true
		}
	}
	return target.Action{}, false
}

// thread runs one thread; true if it stopped the machine.
func (f *fake) thread(tid int, a target.Action) bool {
	r := f.regs[tid]
	if unix.Signal(a.Signal) == unix.SIGKILL {
		f.exit(target.WaitStatus(unix.SIGKILL))
		return true
	}
	for first := true; ; first = false {
		if r.Rip >= codeEnd {
			f.exit(7 << 8)
			return true
		}
		if b := (target.Breakpoint{Kind: target.Software, Addr: r.Rip, Size: 1}); f.breaks[b] && !first {
			f.halt(target.Stop{Tid: tid, Reason: target.StopBreakpoint, Addr: r.Rip})
			return true
		}
		if r.Rip == spin && a.Kind == target.Continue {
			return false
		}
		r.Rip++
		if a.Kind == target.Step && (r.Rip < a.Start || r.Rip >= a.End) {
			f.halt(target.Stop{Tid: tid, Reason: target.StopStep})
			return true
		}
	}
}

func (f *fake) Interrupt() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("interrupt")
	if f.ended {
		return target.ErrGone
	}
	if f.running {
		f.halt(target.Stop{Tid: fakePid, Reason: target.StopInterrupt})
	}
	return nil
}

func (f *fake) Halt() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("halt")
	if f.ended {
		return target.ErrGone
	}
	if f.running {
		f.halt(target.Stop{Tid: fakePid, Reason: target.StopInterrupt})
	}
	return nil
}

func (f *fake) Detach(deliver target.SignalSet) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("detach")
	f.deliver = deliver
	clear(f.breaks)
	f.running = !f.ended
	return nil
}

func (f *fake) Disconnect() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("disconnect")
	clear(f.breaks)
	return nil
}

func (f *fake) Kill() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("kill")
	if f.ended {
		return target.ErrGone
	}
	f.exit(target.WaitStatus(unix.SIGKILL))
	return nil
}

func (f *fake) InsertBreakpoint(b target.Breakpoint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Kind != target.Software {
		return target.ErrUnsupported
	}
	if b.Addr < codeStart || b.Addr >= codeEnd {
		return &target.MemoryError{Addr: b.Addr}
	}
	f.breaks[b] = true
	return nil
}

func (f *fake) RemoveBreakpoint(b target.Breakpoint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.breaks, b)
	return nil
}

func (f *fake) PassSignals(set target.SignalSet) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass = set
	return nil
}

func (f *fake) CatchSyscalls(bool, []int) error { return target.ErrUnsupported }
func (f *fake) ThreadEvents(bool) error         { return nil }

func (f *fake) did(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.log, what)
}

var _ target.Controller = (*fake)(nil)
