package monitor

import (
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/signal"
	"kmdev/monitor/sys"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// vfork makes a child process that runs in this one's memory until it executes a program or ends, while the calling thread
// sleeps (clone with CLONE_VM and CLONE_VFORK). It runs in this VM too, on this thread's vCPU, and this goroutine is its thread
// meanwhile: see hostcall.Vfork.
func (t *Thread) vfork(c *cloneArgs) uint64 {
	call, e := hostClone(c, unix.CLONE_VM)
	if e != 0 {
		return fail(e)
	}
	m := t.m
	state, err := t.xsaveBuf()
	if err != nil {
		return fail(unix.EAGAIN)
	}
	regs, fs, gs := t.v.Run.Regs, t.v.Run.Sregs.FS.Base, t.v.Run.Sregs.GS.Base
	// What the child opened for the monitor would be lost with it.
	sys.OpenProc(t)
	m.growTree()
	m.as.OpenMem()
	m.debug.hide(m.as)
	vf := &hostcall.Vfork{}
	child := &Thread{m: m.vforkChild(vf, c), v: t.v, scratch: t.scratch, sig: t.sig.Fork(), call: -1}
	child.park.init()
	child.confined.Store(t.confined.Load())
	a := call.call()
	r := vf.Begin(a[0], [5]uintptr{a[1], a[2], a[3], a[4], a[5]})
	call.keepAlive()
	if r == 0 {
		child.runVforked(c, regs, fs, gs)
		r = uintptr(vf.Pid())
		t.kernel, t.sysret = false, false
		t.load(&regs, fs, gs)
		if err := t.v.SetXsave(state); err != nil {
			m.log.Error("vector state after vfork", "err", err)
			m.die(unix.SIGABRT)
		}
	}
	m.debug.show(m.as)
	return uint64(r)
}

// runVforked is the child's life, in the child. It returns in the parent.
func (t *Thread) runVforked(c *cloneArgs, regs kvm.Regs, fs, gs uint64) {
	m := t.m
	m.pid = unix.Getpid()
	var err error
	if t.block, err = hostcall.New(); err != nil {
		m.log.Error("vfork", "err", err)
		m.die(unix.SIGKILL)
		return
	}
	defer t.block.Abandon()
	t.enroll(nil)
	m.vforked = t
	if c.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		t.clearTID = c.childTID
	}
	regs.Rax = 0
	if c.stack != 0 {
		regs.Rsp = c.stack
	}
	if c.flags&unix.CLONE_SETTLS != 0 {
		fs = c.tls
	}
	t.load(&regs, fs, gs)
	t.run()
}

// vforkChild is the machine of a vfork child: this one's memory and VM, with the rest of a process of its own.
func (m *Machine) vforkChild(vf *hostcall.Vfork, c *cloneArgs) *Machine {
	child := &Machine{
		host: m.host, vm: m.vm, pad: m.pad, as: m.as, log: m.log, opts: m.opts, fds: m.fds.clone(),
		actions: m.actions, start: m.start, args: m.args, exe: m.exe, exeFD: m.exeFD, selfFD: m.selfFD, statsFD: m.statsFD, parentFD: m.parentFD,
		ownTSC: m.ownTSC, xstateOnce: m.xstateOnce, threads: map[int]*Thread{}, vfork: vf,
	}
	child.limits.adopt(m.limits.list())
	child.told = m.told
	if t := m.tree.Load(); t != nil {
		child.tree.Store(&membership{file: t.file}) // it says nothing of itself until it executes a program
	}
	child.personality.Store(m.personality.Load())
	if c.flags&unix.CLONE_SIGHAND == 0 {
		child.actions = signal.NewActions(m.actions.Table())
	}
	return child
}

// leaveMemory does what Linux's mm_release does when a thread gives up memory that others go on using.
func (t *Thread) leaveMemory() {
	t.releaseRobust()
	if t.clearTID != 0 && usermem.WriteUint32(t.clearTID, 0) == 0 {
		t.wake(t.clearTID)
	}
}

// endVfork ends a vfork child by leave, which returns in the parent.
func (m *Machine) endVfork(leave func(*hostcall.Vfork)) {
	t := m.vforked
	if t != nil {
		t.leaveMemory()
		t.done = true
	}
	leave(m.vfork)
}

// enterVforked is KVM_RUN in a vfork child, serveVforked a hypercall. A child spends its time in KVM_RUN and in calls that sleep, and
// can be killed there without harm to its parent. The thread is done if it was: it is the parent then.
func (t *Thread) enterVforked(v *hostcall.Vfork) unix.Errno {
	r := v.Run(unix.SYS_IOCTL, uintptr(t.v.FD), kvm.RunRequest, 0)
	t.done = v.Ended()
	if int(r) >= 0 {
		return 0
	}
	return unix.Errno(-r)
}

func (t *Thread) serveVforked(v *hostcall.Vfork, nr uint64) uint64 {
	// A call with a path may hold descriptors while it sleeps, which the parent must not close.
	if row := hypercall.Lookup(int(uint32(nr))); row != nil && !row.NamesFile() {
		t.block.Vforked(v)
	}
	r := t.serve(nr)
	t.block.Vforked(nil)
	t.done = t.done || v.Ended()
	return r
}
