package live

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// Process is a payload in a running VM. It implements target.Controller.
type Process struct {
	client *debug.Client
	info   target.Info
	window uint64
	size   uint64
	child  *child // nil if the monitor is not our child

	events chan target.Event
	first  chan struct{} // closed at the first report, or at the end

	mu      sync.Mutex
	running bool
	ended   bool
	status  *target.WaitStatus // as the monitor announced it
	stop    target.Stop
	stops   uint64              // counts the stops and resumptions: what was read belongs to one
	cache   map[int]threadState // of the threads of the stopped process
	tids    []int               // its threads, once asked for

	memMu  sync.Mutex
	mem    *os.File // /proc/PID/mem
	direct directState
	breaks breakList
}

// threadState caches what was read from a stopped thread.
type threadState struct {
	regs  *target.Regs
	xsave []byte
}

var _ target.Controller = (*Process)(nil)

// Open takes up the monitor at the other end of conn. If its payload waits for a debugger at its start, it is stopped there
// when Open returns.
func Open(conn io.ReadWriteCloser) (*Process, error) { return open(conn, nil) }

func open(conn io.ReadWriteCloser, c *child) (*Process, error) {
	p, err := connect(conn, c)
	if err != nil {
		return nil, err
	}
	if !p.client.Hello().Waits {
		return p, nil
	}
	<-p.first
	if _, stopped := p.Stopped(); !stopped {
		p.Close()
		return nil, debug.ErrClosed
	}
	return p, nil
}

func connect(conn io.ReadWriteCloser, c *child) (*Process, error) {
	p := &Process{
		child:   c,
		running: true,
		first:   make(chan struct{}),
		events:  make(chan target.Event, 4), // a stop and the exit; Resume discards what was not read
		cache:   map[int]threadState{},
	}
	p.mu.Lock() // reports wait until everything is in place
	defer p.mu.Unlock()
	client, err := debug.NewClient(conn, p.report, p.gone)
	if err != nil {
		conn.Close()
		return nil, err
	}
	p.client = client
	h := client.Hello()
	p.window, p.size = h.Window, h.Size
	p.info = infoOf(&h)
	return p, nil
}

func infoOf(h *debug.Hello) target.Info {
	layout := target.XsaveLayout{Size: h.Xsave.Size}
	for _, c := range h.Xsave.Components {
		layout.Components = append(layout.Components, target.XsaveComponent(c))
	}
	return target.Info{Pid: h.Pid, Exe: h.Exe, Args: h.Args, XCR0: h.XCR0, Xsave: layout}
}

// Close ends debugging: the payload goes on without a debugger.
func (p *Process) Close() error { return p.client.Close() }

// Info gives the constant facts.
func (p *Process) Info() target.Info { return p.info }

// Events delivers what happens.
func (p *Process) Events() <-chan target.Event { return p.events }

// Stopped gives the stop that was last reported.
func (p *Process) Stopped() (target.Stop, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop, !p.running && !p.ended
}

// report takes a report off the channel.
func (p *Process) report(r debug.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.begun()
	if r.Kind == debug.EventExited {
		status := target.WaitStatus(r.Status)
		p.status = &status // the event follows when the process is gone
		return
	}
	e := eventOf(&r)
	p.running = false
	p.forget()
	p.stop = target.Stop{Tid: r.Tid, Reason: target.StopInterrupt}
	if e.Kind == target.EventStopped {
		p.stop = e.Stop
		regs := e.Stop.Regs
		p.cache[e.Tid] = threadState{regs: &regs}
	}
	p.send(e)
}

// send queues an event. The queue can be full only if nobody read several stops in a row; the state tells then.
func (p *Process) send(e target.Event) {
	e.Pid = p.info.Pid
	select {
	case p.events <- e:
	default:
	}
}

// gone runs when the channel has ended. A child's own exit status is the truth; otherwise what the monitor announced is.
func (p *Process) gone() {
	var status target.WaitStatus
	if p.child != nil {
		status = p.child.wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.child != nil:
	case p.status != nil:
		status = *p.status
	default:
		status = target.WaitStatus(unix.SIGKILL)
	}
	p.ended, p.running = true, false
	p.drain()
	p.send(target.Event{Kind: target.EventExited, Status: status})
	close(p.events)
	p.begun()
}

// begun notes that something has happened. Under mu.
func (p *Process) begun() {
	select {
	case <-p.first:
	default:
		close(p.first)
	}
}

// forget drops what is cached of a stop.
func (p *Process) forget() {
	p.stops++
	clear(p.cache)
	p.tids = nil
}

// drain discards unread events.
func (p *Process) drain() {
	for {
		select {
		case <-p.events:
		default:
			return
		}
	}
}

// errorOf gives front ends their own errors.
func errorOf(err error) error {
	for _, e := range []struct{ from, to error }{
		{debug.ErrNoThread, target.ErrNoThread},
		{debug.ErrRunning, target.ErrRunning},
		{debug.ErrUnsupported, target.ErrUnsupported},
		{debug.ErrClosed, target.ErrGone},
	} {
		if errors.Is(err, e.from) {
			return e.to
		}
	}
	return err
}
