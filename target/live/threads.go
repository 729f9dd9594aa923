package live

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"kmdev/monitor/debug"
	"kmdev/target"
)

// Threads lists the payload's threads.
func (p *Process) Threads() ([]int, error) {
	list, err := p.client.Threads()
	if err != nil {
		return nil, errorOf(err)
	}
	tids := make([]int, len(list))
	for i, t := range list {
		tids[i] = t.Tid
	}
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

// state gives the cache of a stopped thread.
func (p *Process) state(tid int) (*threadState, error) {
	switch {
	case p.ended:
		return nil, target.ErrGone
	case p.running:
		return nil, target.ErrRunning
	}
	s := p.cache[tid]
	if s == nil {
		s = &threadState{}
		p.cache[tid] = s
	}
	return s, nil
}

// Registers gives a stopped thread's general registers.
func (p *Process) Registers(tid int) (target.Regs, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.state(tid)
	if err != nil {
		return target.Regs{}, err
	}
	if s.regs == nil {
		r, err := p.client.Regs(tid)
		if err != nil {
			return target.Regs{}, errorOf(err)
		}
		s.regs = (*target.Regs)(&r)
	}
	return *s.regs, nil
}

// SetRegisters sets them.
func (p *Process) SetRegisters(tid int, r *target.Regs) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.state(tid)
	if err != nil {
		return err
	}
	s.regs = nil
	return errorOf(p.client.SetRegs(tid, (*debug.Regs)(r)))
}

// Extended gives a stopped thread's XSAVE area.
func (p *Process) Extended(tid int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.state(tid)
	if err != nil {
		return nil, err
	}
	if s.xsave == nil {
		if s.xsave, err = p.client.Xsave(tid); err != nil {
			return nil, errorOf(err)
		}
	}
	return s.xsave, nil
}

// SetExtended sets it.
func (p *Process) SetExtended(tid int, area []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.state(tid)
	if err != nil {
		return err
	}
	s.xsave = nil
	return errorOf(p.client.SetXsave(tid, area))
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
