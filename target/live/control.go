package live

import (
	"errors"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// Resume lets the stopped process go on.
func (p *Process) Resume(actions []target.Action) error {
	p.mu.Lock()
	switch {
	case p.ended:
		p.mu.Unlock()
		return target.ErrGone
	case p.running:
		p.mu.Unlock()
		return target.ErrRunning
	}
	p.running = true
	p.drain()
	p.forget()
	p.mu.Unlock()
	err := p.ending(p.client.Resume(actionsOf(actions)))
	if err != nil {
		p.mu.Lock()
		p.running = false
		p.mu.Unlock()
	}
	return err
}

// ending is the result of a request after which the process may be gone before the monitor can answer: that it is, is no
// error. The event tells.
func (p *Process) ending(err error) error {
	if errors.Is(err, debug.ErrClosed) {
		return nil
	}
	return errorOf(err)
}

// Interrupt stops the running process.
func (p *Process) Interrupt() error { return errorOf(p.client.Interrupt()) }

// Halt stops it for any reason.
func (p *Process) Halt() error { return errorOf(p.client.Halt()) }

// Detach lets the process go on without a debugger.
func (p *Process) Detach(deliver target.SignalSet) error {
	p.forgetBreakpoints()
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return target.ErrGone
	}
	p.running = true
	p.drain()
	p.forget()
	p.mu.Unlock()
	return p.ending(p.client.Detach(uint64(deliver)))
}

// Disconnect removes breakpoints and lets signals pass, but moves nothing.
func (p *Process) Disconnect() error {
	p.forgetBreakpoints()
	return errorOf(p.client.Disconnect())
}

// Kill ends the process.
func (p *Process) Kill() error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended {
		return target.ErrGone
	}
	return p.ending(p.client.Kill())
}

// PassSignals sets the signals that don't stop the process.
func (p *Process) PassSignals(set target.SignalSet) error {
	return errorOf(p.client.PassSignals(uint64(set)))
}

// CatchSyscalls sets the system calls that stop the process.
func (p *Process) CatchSyscalls(all bool, nrs []int) error {
	return errorOf(p.client.CatchSyscalls(all, nrs))
}

// ThreadEvents makes threads' creation and exit stop the process.
func (p *Process) ThreadEvents(on bool) error { return errorOf(p.client.ThreadEvents(on)) }

// InsertBreakpoint arms a breakpoint.
func (p *Process) InsertBreakpoint(b target.Breakpoint) error {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	b = normal(b)
	if p.breaks.has(b) {
		return nil
	}
	hidden, err := p.client.InsertBreakpoint(breakpointOf(b))
	if err != nil {
		return memoryError(b.Addr, err)
	}
	p.breaks.add(b, hidden)
	return nil
}

// RemoveBreakpoint disarms it.
func (p *Process) RemoveBreakpoint(b target.Breakpoint) error {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	b = normal(b)
	if !p.breaks.has(b) {
		return nil
	}
	p.breaks.remove(b)
	return errorOf(p.client.RemoveBreakpoint(breakpointOf(b)))
}

// normal gives breakpoints on execution their only size.
func normal(b target.Breakpoint) target.Breakpoint {
	if b.Kind == target.Software || b.Kind == target.Hardware {
		b.Size = 1
	}
	return b
}

func (p *Process) forgetBreakpoints() {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	p.breaks.clear()
}
