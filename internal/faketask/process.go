package faketask

import (
	"fmt"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// The methods of hypercall.Process.

var _ hypercall.Process = (*Process)(nil)

func (p *Process) Exe() string { return p.ExePath }
func (p *Process) ExeFD() int  { return p.ExeFile }

func (p *Process) HasThread(tid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.threads[tid]
}

func (p *Process) Threads() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.threads)
}

func (p *Process) Rlimit(resource int) (unix.Rlimit, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.limits[resource]
	return l, ok
}

func (p *Process) SetRlimit(resource int, l unix.Rlimit) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	if resource == unix.RLIMIT_NOFILE && l.Max > Limit {
		return unix.EPERM
	}
	p.limits[resource] = l
	return 0
}

func (p *Process) Uname(u *unix.Utsname) {
	if p.NameChange != nil {
		p.NameChange(u)
	}
}

func (p *Process) ProcFile(_ hypercall.Task, name string, host func() []byte) ([]byte, bool) {
	text, ok := p.Files[name]
	if ok && text == "" {
		return append([]byte("seen: "), host()...), true
	}
	return []byte(text), ok
}

// OwnFD moves a descriptor to bound or above.
func (p *Process) OwnFD(fd int) (int, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, p.bound)
	if err == nil {
		unix.Close(fd)
	}
	return own, err
}

func (p *Process) Notef(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// Notes returns what was logged.
func (p *Process) Notes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notes
}
