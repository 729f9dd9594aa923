package monitor

import (
	"fmt"

	"kmdev/monitor/handover"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/loader"
	"kmdev/monitor/memory"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// hostFlags are the flags of a clone that the host carries out for a process of its own. The others are about the payload's
// registers and memory words (CLONE_SETTLS, CLONE_CHILD_CLEARTID) or mean nothing here.
const hostFlags = unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_PARENT | unix.CLONE_SYSVSEM | unix.CLONE_IO | unix.CLONE_VFORK |
	unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
	unix.CLONE_NEWNET | unix.CLONE_NEWTIME | unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_SETTID |
	unix.CLONE_INTO_CGROUP

// hostClone is the host's system call for a new process like c asks for, with the flags in extra. The words at addresses of
// the payload's are written by the kernel itself, in the parent's and in the child's memory.
func hostClone(c *cloneArgs, extra uint64) (call hostClone3, e unix.Errno) {
	h := *c
	h.flags = c.flags&hostFlags | extra
	h.stack, h.stackSize, h.tls = 0, 0, 0
	for _, w := range []struct {
		flag uint64
		addr *uint64
		must bool
	}{
		{unix.CLONE_PIDFD, &h.pidfd, true}, // put_user's failure is the call's
		{unix.CLONE_PARENT_SETTID, &h.parentTID, false},
		{unix.CLONE_CHILD_SETTID, &h.childTID, false},
	} {
		if h.flags&w.flag == 0 {
			*w.addr = 0
			continue
		}
		host, ok := usermem.Host(*w.addr, 4)
		switch {
		case ok:
			*w.addr = uint64(host)
		case w.must:
			return call, unix.EFAULT
		default:
			h.flags &^= w.flag
			*w.addr = 0
		}
	}
	if h.setTIDSize > 0 {
		host, ok := usermem.Host(h.setTID, 4*h.setTIDSize)
		if !ok || h.setTIDSize > maxSetTID {
			return call, unix.EINVAL
		}
		h.setTID = uint64(host)
	}
	return newClone3(&h), 0
}

// maxSetTID is MAX_PID_NS_LEVEL.
const maxSetTID = 32

// fork makes a child process: a copy of this one's window, made by the kernel, in which a new monitor starts (hostcall.Fork)
// and makes a VM of its own. Nobody maps or unmaps meanwhile.
func (t *Thread) fork(c *cloneArgs) uint64 {
	call, e := hostClone(c, 0)
	if e != 0 {
		return fail(e)
	}
	m := t.m
	xsave, err := t.xsaveBuf()
	if err != nil {
		m.log.Error("fork", "err", err)
		return fail(unix.EAGAIN)
	}
	m.growTree()
	in := m.inherit(t)
	in.forked = true
	in.child = childState{args: m.args, exe: m.exe, exeFD: m.exeFD, start: m.start, xsave: xsave, rseq: t.rseq,
		regs: t.v.Run.Regs, fs: t.v.Run.Sregs.FS.Base, gs: t.v.Run.Sregs.GS.Base}
	ch := &in.child
	ch.regs.Rax = 0
	if c.stack != 0 {
		ch.regs.Rsp = c.stack
	}
	if c.flags&unix.CLONE_SETTLS != 0 {
		ch.fs = c.tls
	}
	if c.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		ch.clearTID = c.childTID
	}
	ch.vdso = m.hostVDSO()
	child := &hostcall.Child{Clone: call.call(), Binary: m.selfFD,
		VDSO: [2]uintptr{uintptr(ch.vdso.VvarStart), uintptr(ch.vdso.VdsoStart + ch.vdso.VdsoSize)}}
	in.shared = c.flags&unix.CLONE_FILES != 0
	if !in.shared {
		child.Close = [][2]uint32{{uint32(m.fds.Bound()), uint32(keptBase() - 1)}}
	}
	make := func() (pid uintptr) {
		m.debug.freeze(func(hidden []hiddenByte) {
			ch.hidden = hidden
			m.as.Freeze(func(s memory.State) {
				ch.memory = s
				var w handover.Writer
				in.write(&w)
				child.State = w.Bytes()
				pid = hostcall.Fork(child)
			})
		})
		call.keepAlive()
		return pid
	}
	if m.crowded() {
		return uint64(t.watchedFork(in, child, make))
	}
	return uint64(make())
}

// hostVDSO finds the monitor's vDSO, if it has not been found yet.
func (m *Machine) hostVDSO() loader.HostVDSO {
	if m.vdso.VdsoSize == 0 {
		m.vdso, _ = loader.FindHostVDSO()
	}
	return m.vdso
}

// runForked goes on as the child that fork made. On the main thread.
func (m *Machine) runForked(in *inheritance) error {
	c := &in.child
	parts := map[string]uintptr{}
	for i := range c.memory.VMAs {
		if v := &c.memory.VMAs[i]; v.Host != 0 {
			parts[v.Name] = uintptr(v.Host)
		}
	}
	if e := m.as.Import(c.memory, parts); e != 0 {
		return fmt.Errorf("the memory of a forked child: %w", e)
	}
	for _, b := range c.hidden {
		if _, err := m.as.ForceWrite(b.addr, []byte{b.original}); err != nil {
			m.log.Warn("a breakpoint stays in a forked child", "addr", b.addr, "err", err)
		}
	}
	t, err := m.firstThread(in.sig)
	if err != nil {
		return err
	}
	if err := m.announce(t); err != nil {
		return fmt.Errorf("the VM of a forked child: %w", err)
	}
	m.told = in.told
	m.joinTree(in.tree)
	t.load(&c.regs, c.fs, c.gs)
	if err := t.v.SetXsave(c.xsave); err != nil {
		return fmt.Errorf("vector state of a forked child: %w", err)
	}
	t.clearTID, t.rseq = c.clearTID, c.rseq
	m.runFirst(t)
	return nil
}
