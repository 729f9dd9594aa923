package debug

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// toy is an Inferior without a processor: threads stop when the test says so. The test plays the threads: it calls
// happen, hit and so on from its own goroutine, as vCPU threads would.
type toy struct {
	mu      sync.Mutex
	sink    func(Event)
	order   []int
	threads map[int]*toyThread
	holdNew bool
	breaks  map[Breakpoint]bool
	memory  []byte // from memoryBase on
	pass    uint64
	killed  bool
	resumed chan []Action // every Resume
}

type toyThread struct {
	parked bool
	wanted bool
	stop   Stop
	regs   Regs
	signal int
	step   bool
}

func newToy(tids ...int) *toy {
	y := &toy{threads: map[int]*toyThread{}, breaks: map[Breakpoint]bool{}, memory: make([]byte, 16), resumed: make(chan []Action, 64)}
	for _, tid := range tids {
		y.order = append(y.order, tid)
		y.threads[tid] = &toyThread{regs: Regs{Rip: uint64(tid) << 12}}
	}
	return y
}

func (y *toy) Hello() Hello {
	return Hello{Pid: 1, Exe: "/bin/toy", Args: []string{"toy", ""}, Window: 1 << 44, Size: 1 << 46, XCR0: 7,
		Xsave: XsaveLayout{832, []XsaveComponent{{2, 576, 256}}}}
}

func (y *toy) list() (l []Thread) {
	for _, tid := range y.order {
		l = append(l, Thread{tid, y.threads[tid].parked, y.threads[tid].stop})
	}
	return l
}

func (y *toy) Attach(sink func(Event)) []Thread {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.sink = sink
	return y.list()
}

func (y *toy) Threads() []Thread {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.list()
}

// emit calls the sink without the lock.
func (y *toy) emit(e Event) {
	y.mu.Lock()
	sink := y.sink
	y.mu.Unlock()
	if sink != nil {
		sink(e)
	}
}

// stopped parks a thread.
func (y *toy) stopped(tid int, stop Stop) {
	y.mu.Lock()
	t := y.threads[tid]
	t.parked, t.wanted, t.stop = true, false, stop
	y.mu.Unlock()
	y.emit(Event{Kind: EventStopped, Tid: tid, Stop: stop})
}

func (y *toy) hit(tid int, addr uint64) {
	y.mu.Lock()
	y.threads[tid].regs.Rip = addr
	y.mu.Unlock()
	y.stopped(tid, Stop{Reason: StopBreakpoint, Addr: addr})
}

// obey parks the threads that were asked to.
func (y *toy) obey() {
	for {
		y.mu.Lock()
		tid := 0
		for _, id := range y.order {
			if t := y.threads[id]; t.wanted && !t.parked {
				tid = id
			}
		}
		y.mu.Unlock()
		if tid == 0 {
			return
		}
		y.stopped(tid, Stop{Reason: StopRequested})
	}
}

func (y *toy) created(tid int) {
	y.mu.Lock()
	y.order = append(y.order, tid)
	y.threads[tid] = &toyThread{wanted: y.holdNew}
	y.mu.Unlock()
	y.emit(Event{Kind: EventCreated, Tid: tid})
}

func (y *toy) exited(tid int) {
	y.mu.Lock()
	delete(y.threads, tid)
	y.order = slices.DeleteFunc(y.order, func(id int) bool { return id == tid })
	y.mu.Unlock()
	y.emit(Event{Kind: EventThreadExited, Tid: tid})
}

func (y *toy) Stop(tid int) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.holdNew = y.holdNew || tid == AllThreads
	for id, t := range y.threads {
		if !t.parked && (tid == AllThreads || tid == id) {
			t.wanted = true
		}
	}
	return nil
}

func (y *toy) Resume(actions []Action) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, a := range actions {
		if t := y.threads[a.Tid]; t == nil {
			return ErrNoThread
		} else if !t.parked {
			return ErrRunning
		}
	}
	y.holdNew = false
	for _, a := range actions {
		t := y.threads[a.Tid]
		t.parked, t.signal, t.step = false, a.Signal, a.Kind == Step
	}
	y.resumed <- slices.Clone(actions)
	return nil
}

func (y *toy) parked(tid int) (*toyThread, error) {
	t := y.threads[tid]
	switch {
	case t == nil:
		return nil, ErrNoThread
	case !t.parked:
		return nil, ErrRunning
	}
	return t, nil
}

func (y *toy) Regs(tid int) (Regs, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	t, err := y.parked(tid)
	if err != nil {
		return Regs{}, err
	}
	return t.regs, nil
}

// registers is Regs for the test itself.
func (y *toy) registers(tid int) Regs {
	r, _ := y.Regs(tid)
	return r
}

func (y *toy) SetRegs(tid int, r *Regs) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	t, err := y.parked(tid)
	if err == nil {
		t.regs = *r
	}
	return err
}

func (y *toy) Xsave(tid int) ([]byte, error) { return []byte{byte(tid), 2, 3}, nil }

func (y *toy) SetXsave(_ int, area []byte) error {
	if len(area) != 3 {
		return unix.EINVAL
	}
	return nil
}

func (y *toy) Siginfo(tid int) (Siginfo, error)      { return Siginfo{byte(tid)}, nil }
func (y *toy) SetSiginfo(tid int, s *Siginfo) error  { return ErrUnsupported }
func (y *toy) VMAs() []VMA                           { return []VMA{{Start: 1, End: 2, Prot: 5, Shared: true, Name: "x"}, {}} }
func (y *toy) Auxv() []byte                          { return []byte("auxv") }
func (y *toy) CatchSyscalls(all bool, n []int) error { return ErrUnsupported }

// memoryBase is where the toy's memory begins.
const memoryBase = 0x1000

// there gives the memory at addr.
func (y *toy) there(addr uint64) []byte {
	if addr < memoryBase || addr-memoryBase > uint64(len(y.memory)) {
		return nil
	}
	return y.memory[addr-memoryBase:]
}

func (y *toy) ReadMemory(addr uint64, p []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if n := copy(p, y.there(addr)); n < len(p) {
		return n, unix.EFAULT
	}
	return len(p), nil
}

func (y *toy) WriteMemory(addr uint64, p []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if n := copy(y.there(addr), p); n < len(p) {
		return n, unix.EFAULT
	}
	return len(p), nil
}

func (y *toy) InsertBreakpoint(b Breakpoint) ([]byte, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case b.Kind != Software:
		return nil, ErrUnsupported
	case y.breaks[b]:
		return nil, unix.EEXIST
	}
	y.breaks[b] = true
	return []byte{0x90}, nil
}

func (y *toy) RemoveBreakpoint(b Breakpoint) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.breaks[b] {
		return unix.ENOENT
	}
	delete(y.breaks, b)
	return nil
}

func (y *toy) PassSignals(set uint64) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.pass = set
	return nil
}

func (y *toy) Kill() error {
	y.killed = true
	y.emit(Event{Kind: EventExited, Tid: 1, Status: 9})
	return nil
}

var _ Inferior = (*toy)(nil)
