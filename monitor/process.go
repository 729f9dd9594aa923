package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// processCalls are the hypercalls about the process as a whole.
var processCalls = map[int]handler{
	unix.SYS_PERSONALITY: (*Thread).setPersonality,
	unix.SYS_EXECVE:      (*Thread).execve,
	unix.SYS_EXECVEAT:    (*Thread).execveat,
	unix.SYS_RSEQ:        (*Thread).sysRseq,
}

// personalityGet asks personality(2) for the value in force.
const personalityGet = 0xffffffff

func (t *Thread) setPersonality(a *[6]uint64) uint64 {
	old := t.m.personality.Load()
	if uint32(a[0]) != personalityGet {
		t.m.personality.Store(uint64(uint32(a[0])))
	}
	return old
}

// sysRseq registers a struct rseq. cpu_id is kept current at every hypercall; see abortRseq for the rest.
func (t *Thread) sysRseq(a *[6]uint64) uint64 {
	addr, size, flags, sig := a[0], uint32(a[1]), int32(a[2]), uint32(a[3])
	const unregister = 1
	if flags == unregister {
		switch {
		case t.rseq.addr == 0 || t.rseq.addr != addr || t.rseq.size != size:
			return fail(unix.EINVAL)
		case t.rseq.sig != sig:
			return fail(unix.EPERM)
		}
		usermem.WriteUint32(addr+rseqCPUStart, 0)
		usermem.WriteUint32(addr+rseqCPU, ^uint32(0))
		t.rseq = rseqArea{}
		return 0
	}
	switch {
	case flags != 0:
		return fail(unix.EINVAL)
	case t.rseq.addr != 0:
		if t.rseq.addr != addr || t.rseq.size != size {
			return fail(unix.EINVAL)
		}
		if t.rseq.sig != sig {
			return fail(unix.EPERM)
		}
		return fail(unix.EBUSY)
	case size < rseqMinSize || addr%32 != 0:
		return fail(unix.EINVAL)
	}
	if _, ok := usermem.Host(addr, uint64(size)); !ok {
		return fail(unix.EFAULT)
	}
	t.rseq = rseqArea{addr: addr, size: size, sig: sig, cpu: -1}
	if !t.updateRseq() {
		t.rseq = rseqArea{}
		return fail(unix.EFAULT)
	}
	return 0
}

// updateRseq writes the CPU this thread runs on, if it has moved.
func (t *Thread) updateRseq() bool {
	now := int32(currentCPU())
	if now == t.rseq.cpu {
		return true
	}
	t.rseq.cpu = now
	a := t.rseq.addr
	return usermem.WriteUint32(a+rseqCPUStart, uint32(now)) == 0 && usermem.WriteUint32(a+rseqCPU, uint32(now)) == 0 &&
		usermem.WriteUint32(a+rseqNode, 0) == 0 && usermem.WriteUint32(a+rseqMMCID, uint32(now)) == 0
}

// exitGroup ends the process; status is wait(2)'s: an exit code, or a signal that killed the last thread alone.
func (m *Machine) exitGroup(t *Thread, status int) {
	if sig := status & 0x7f; sig != 0 {
		m.die(unix.Signal(sig))
		return
	}
	if m.vfork != nil {
		m.endVfork(func(v *hostcall.Vfork) { v.Leave(unix.SYS_EXIT_GROUP, uintptr(status>>8&0xff), 0, 0, 0, 0) })
		return
	}
	m.reportExit(t, status)
	m.printStats()
	m.leaveTree()
	m.leaveFiles()
	t.done = true
	hostcall.Raw(unix.SYS_EXIT_GROUP, uintptr(status>>8&0xff), 0, 0, 0, 0, 0)
}

// die ends the process by a signal's default action; its parent sees that signal. It returns only where a vfork child's parent
// goes on.
func (m *Machine) die(sig unix.Signal) {
	if m.vfork != nil {
		m.endVfork(func(v *hostcall.Vfork) { v.Die(int(sig)) })
		return
	}
	m.reportExit(nil, int(sig))
	m.printStats()
	m.leaveTree()
	m.leaveFiles()
	hostcall.ResetForDeath(int(sig))
}

// waitForEnd keeps a thread out of the way while another one ends the process.
func (t *Thread) waitForEnd() { select {} }

// xstate is the layout of the payload's XSAVE area.
func (m *Machine) xstate() *cpu.XState { return m.xstateOnce() }

// Refused is told of each hypercall that is not served: one line in the log for each number, or KM's abort.
func (m *Machine) Refused(t hypercall.Task, nr uint64, row *hypercall.Row) {
	name, why, level := "unknown", "Linux has no such call", slog.LevelWarn
	if row != nil {
		name, why = row.Name, row.Note
		if row.Serve.Errno() != unix.ENOSYS {
			level = slog.LevelInfo // an answer that Linux gives too, on another machine or to another user
		}
	}
	if m.firstRefusal(nr) {
		m.log.Log(context.Background(), level, "hypercall refused", "name", name, "number", nr, "why", why)
	}
	if m.opts.AbortUnimplemented {
		m.log.Error("ending the payload, as --unimplemented=abort asks", "hypercall", name, "number", nr, "tid", t.Tid())
		m.die(unix.SIGSYS)
	}
}

func (m *Machine) firstRefusal(nr uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.warned[nr] {
		return false
	}
	if m.warned == nil {
		m.warned = map[uint64]bool{}
	}
	m.warned[nr] = true
	return true
}

// The methods of hypercall.Process.

var _ hypercall.Process = (*Machine)(nil)

// Exe is the payload's executable, ExeFD an open descriptor of it.
func (m *Machine) Exe() string { return m.exe }
func (m *Machine) ExeFD() int  { return m.exeFD }
func (m *Machine) SelfFD() int { return m.selfFD }

// keepExe keeps the program's file for /proc/self/exe.
func (m *Machine) keepExe() (err error) {
	fd, err := unix.FcntlInt(uintptr(m.program.Fd()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keeping %s open: %w", m.program.Exe, err)
	}
	if m.exeFD, err = m.fds.Keep(fd); err != nil {
		return err
	}
	if m.exe, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", m.exeFD)); err != nil {
		m.exe, err = filepath.Abs(m.program.Exe)
	}
	return err
}

func (m *Machine) HasThread(tid int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.threads[tid] != nil
}

func (m *Machine) Threads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.threads)
}

func (m *Machine) OwnFD(fd int) (int, error) { return m.fds.Relocate(fd) }

// KeepFD is OwnFD for a descriptor that children and executed programs inherit.
func (m *Machine) KeepFD(fd int) (int, error) { return m.fds.Keep(fd) }

// Notef logs once for each format.
func (m *Machine) Notef(format string, args ...any) {
	m.mu.Lock()
	seen := m.noted[format]
	if m.noted == nil {
		m.noted = map[string]bool{}
	}
	m.noted[format] = true
	m.mu.Unlock()
	if !seen {
		m.log.Info(fmt.Sprintf(format, args...))
	}
}

// kontain is what uname's release ends with: language bindings look for it.
const kontain = ".kontain.KVM"

// Uname makes the host's answer the payload's.
func (m *Machine) Uname(u *unix.Utsname) {
	release := unix.ByteSliceToString(u.Release[:])
	fields := map[string][]byte{"sysname": u.Sysname[:], "nodename": u.Nodename[:], "release": u.Release[:],
		"version": u.Version[:], "machine": u.Machine[:], "domainname": u.Domainname[:]}
	set := func(name, text string) {
		f := fields[name]
		clear(f)
		copy(f[:len(f)-1], text)
	}
	set("release", release+kontain)
	for name, text := range m.opts.Uname {
		set(name, text)
	}
}
