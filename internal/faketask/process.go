package faketask

import (
	"fmt"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// The methods of hypercall.Process.

var _ hypercall.Process = (*Process)(nil)

func (p *Process) Exe() string { return p.ExePath }
func (p *Process) ExeFD() int  { return p.ExeFile }
func (p *Process) SelfFD() int { return -1 }

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

func (p *Process) ProcFile(_ hypercall.Task, f *hypercall.ProcFile) ([]byte, bool) {
	text, ok := p.Files[f.Name]
	if ok && text == "" {
		return append([]byte("seen: "), f.Host()...), true
	}
	return []byte(text), ok
}

// MapAnonymous maps memory in a part of the window that no task uses.
func (p *Process) MapAnonymous(size uint64) uint64 {
	const first, last = 0x4000_0000_0000, 0x4100_0000_0000
	for gva := uint64(first); gva < last; gva += size + page {
		_, _, e := unix.Syscall6(unix.SYS_MMAP, uintptr(usermem.Window+gva), uintptr(size), unix.PROT_READ,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uintptr(0), 0)
		if e == 0 {
			return gva
		}
	}
	return hypercall.Err(unix.ENOMEM)
}

func (p *Process) Unmap(gva, size uint64) {
	unix.Syscall(unix.SYS_MUNMAP, uintptr(usermem.Window+gva), uintptr(size), 0)
}

// KeepFD is OwnFD: this process has no children.
func (p *Process) KeepFD(fd int) (int, error) { return p.OwnFD(fd) }

func (p *Process) Madvise(gva, size, behavior uint64) uint64 {
	_, _, e := unix.Syscall(unix.SYS_MADVISE, hypercall.Pointer(gva, size), uintptr(size), uintptr(behavior))
	return hypercall.Err(e)
}

func (p *Process) Relative(pid int, start func() uint64) hypercall.Relative {
	if r := p.Relatives[pid]; r != nil && start() != 0 {
		return r
	}
	return nil
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
