package live

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// Threads lists the payload's threads. While the process is stopped they don't change.
func (p *Process) Threads() ([]int, error) {
	p.mu.Lock()
	tids, stop, ended := p.tids, p.stops, p.ended
	p.mu.Unlock()
	if ended {
		return nil, target.ErrGone
	}
	if tids != nil {
		return slices.Clone(tids), nil
	}
	list, err := p.client.Threads()
	if err != nil {
		return nil, errorOf(err)
	}
	tids = make([]int, len(list))
	for i, t := range list {
		tids[i] = t.Tid
	}
	p.keep(stop, func() { p.tids = slices.Clone(tids) })
	return tids, nil
}

// Thread describes one thread by its host thread, whose name and CPU are its own.
func (p *Process) Thread(tid int) (target.Thread, error) {
	comm, err := os.ReadFile(p.taskFile(tid, "comm"))
	if err != nil {
		return target.Thread{}, target.ErrNoThread
	}
	stat, _ := os.ReadFile(p.taskFile(tid, "stat"))
	return target.Thread{Tid: tid, Name: string(bytes.TrimSuffix(comm, []byte("\n"))), Core: coreOf(stat)}, nil
}

// coreOf finds the field "processor" of /proc/PID/task/TID/stat (proc_pid_stat(5)).
func coreOf(stat []byte) int {
	end := bytes.LastIndex(stat, []byte(") ")) // the name before it may hold anything
	if end < 0 {
		return -1
	}
	fields := bytes.Fields(stat[end+2:])
	const processor = 39 - 3 // the first field after the name is number 3
	if len(fields) <= processor {
		return -1
	}
	core, err := strconv.Atoi(string(fields[processor]))
	if err != nil {
		return -1
	}
	return core
}

func (p *Process) taskFile(tid int, name string) string {
	return fmt.Sprintf("/proc/%d/task/%d/%s", p.info.Pid, tid, name)
}

// cached gives what is known of a thread of the stopped process, and the stop's number for keep. The monitor is never
// asked under mu, which report takes.
func (p *Process) cached(tid int) (threadState, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
		return threadState{}, 0, target.ErrGone
	case p.running:
		return threadState{}, 0, target.ErrRunning
	}
	return p.cache[tid], p.stops, nil
}

// keep changes the cache, if the process has not moved since stop.
func (p *Process) keep(stop uint64, change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running && p.stops == stop {
		change()
	}
}

// Registers gives a stopped thread's general registers.
func (p *Process) Registers(tid int) (target.Regs, error) {
	s, stop, err := p.cached(tid)
	if err != nil {
		return target.Regs{}, err
	}
	if s.regs == nil {
		r, err := p.client.Regs(tid)
		if err != nil {
			return target.Regs{}, errorOf(err)
		}
		s.regs = (*target.Regs)(&r)
		p.keep(stop, func() { p.cache[tid] = threadState{s.regs, p.cache[tid].xsave} })
	}
	return *s.regs, nil
}

// SetRegisters sets them.
func (p *Process) SetRegisters(tid int, r *target.Regs) error {
	_, stop, err := p.cached(tid)
	if err != nil {
		return err
	}
	err = p.client.SetRegs(tid, (*debug.Regs)(r))
	p.keep(stop, func() { p.cache[tid] = threadState{nil, p.cache[tid].xsave} })
	return errorOf(err)
}

// Extended gives a stopped thread's XSAVE area.
func (p *Process) Extended(tid int) ([]byte, error) {
	s, stop, err := p.cached(tid)
	if err != nil {
		return nil, err
	}
	if s.xsave == nil {
		if s.xsave, err = p.client.Xsave(tid); err != nil {
			return nil, errorOf(err)
		}
		p.keep(stop, func() { p.cache[tid] = threadState{p.cache[tid].regs, s.xsave} })
	}
	return s.xsave, nil
}

// SetExtended sets it.
func (p *Process) SetExtended(tid int, area []byte) error {
	_, stop, err := p.cached(tid)
	if err != nil {
		return err
	}
	err = p.client.SetXsave(tid, area)
	p.keep(stop, func() { p.cache[tid] = threadState{p.cache[tid].regs, nil} })
	return errorOf(err)
}

// Siginfo gives the siginfo of the signal that a stopped thread stopped for.
func (p *Process) Siginfo(tid int) (target.Siginfo, error) {
	info, err := p.client.Siginfo(tid)
	return target.Siginfo(info), errorOf(err)
}

// SetSiginfo changes it before its delivery.
func (p *Process) SetSiginfo(tid int, info *target.Siginfo) error {
	return errorOf(p.client.SetSiginfo(tid, (*debug.Siginfo)(info)))
}

// Maps lists the payload's mappings.
func (p *Process) Maps() ([]target.Mapping, error) {
	vmas, err := p.client.VMAs()
	return mappingsOf(vmas), errorOf(err)
}

// Auxv is the auxiliary vector.
func (p *Process) Auxv() ([]byte, error) {
	auxv, err := p.client.Auxv()
	return auxv, errorOf(err)
}
