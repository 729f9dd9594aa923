package monitor

import (
	"encoding/binary"

	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// threadCalls are the hypercalls that make, name and end threads.
var threadCalls = map[int]handler{
	unix.SYS_CLONE:  (*Thread).clone,
	unix.SYS_CLONE3: (*Thread).clone3,
	unix.SYS_FORK: func(t *Thread, _ *[6]uint64) uint64 {
		return t.doClone(&cloneArgs{exitSignal: uint64(unix.SIGCHLD)})
	},
	unix.SYS_VFORK: func(t *Thread, _ *[6]uint64) uint64 {
		return t.doClone(&cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK, exitSignal: uint64(unix.SIGCHLD)})
	},
	unix.SYS_EXIT:            (*Thread).sysExit,
	unix.SYS_EXIT_GROUP:      (*Thread).sysExitGroup,
	unix.SYS_SET_TID_ADDRESS: (*Thread).setTIDAddress,
	unix.SYS_SET_ROBUST_LIST: (*Thread).setRobustList,
	unix.SYS_GET_ROBUST_LIST: (*Thread).getRobustList,
	unix.SYS_ARCH_PRCTL:      (*Thread).archPrctl,
}

// cloneArgs is struct clone_args (clone(2)), as far as it is used.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// threadFlags are the flags of a clone that makes a thread; thread libraries give all of them.
const (
	needThread  = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	knownThread = needThread | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID |
		unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID | unix.CLONE_DETACHED | unix.CLONE_PTRACE | unix.CLONE_UNTRACED | unix.CLONE_IO
)

func (t *Thread) clone(a *[6]uint64) uint64 {
	if a[0]&unix.CLONE_PIDFD != 0 && a[0]&(unix.CLONE_PARENT_SETTID|unix.CLONE_DETACHED) != 0 {
		return fail(unix.EINVAL)
	}
	return t.doClone(&cloneArgs{
		flags: a[0] &^ 0xff, exitSignal: a[0] & 0xff, stack: a[1], parentTID: a[2], childTID: a[3], tls: a[4],
		pidfd: a[2], // of the two, flags allow one
	})
}

const (
	cloneArgsMin = 64   // CLONE_ARGS_SIZE_VER0
	cloneArgsMax = 4096 // a page, as in the kernel
)

func (t *Thread) clone3(a *[6]uint64) uint64 {
	size := a[1]
	if size > cloneArgsMax {
		return fail(unix.E2BIG)
	}
	if size < cloneArgsMin {
		return fail(unix.EINVAL)
	}
	var raw [cloneArgsMax]byte
	if e := usermem.CopyIn(raw[:size], a[0]); e != 0 {
		return fail(e)
	}
	for _, b := range raw[min(size, 88):size] {
		if b != 0 {
			return fail(unix.E2BIG)
		}
	}
	w := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	c := &cloneArgs{w(0), w(1), w(2), w(3), w(4), w(5), w(6), w(7), w(8), w(9), w(10)}
	if c.flags&^0x7_ffff_ffff != 0 || c.flags&(unix.CLONE_DETACHED|0xff) != 0 || c.exitSignal&^0xff != 0 {
		return fail(unix.EINVAL)
	}
	if (c.stack == 0) != (c.stackSize == 0) {
		return fail(unix.EINVAL)
	}
	if c.flags&unix.CLONE_THREAD != 0 && c.exitSignal != 0 {
		return fail(unix.EINVAL)
	}
	c.stack += c.stackSize
	return t.doClone(c)
}

// doClone makes a thread or a process. c.stack is the child's stack pointer, or 0 for the parent's.
func (t *Thread) doClone(c *cloneArgs) uint64 {
	switch f := c.flags; {
	case f&unix.CLONE_THREAD != 0 && f&unix.CLONE_SIGHAND == 0,
		f&unix.CLONE_SIGHAND != 0 && f&unix.CLONE_VM == 0:
		return fail(unix.EINVAL)
	case f&unix.CLONE_THREAD == 0:
		return t.newProcess(c)
	case t.m.vfork != nil:
		t.m.Notef("a thread in a vfork child is refused: the payload gets EAGAIN")
		return fail(unix.EAGAIN)
	case f&(unix.CLONE_NEWUSER|unix.CLONE_NEWPID|unix.CLONE_PIDFD) != 0 && f&unix.CLONE_PIDFD == 0:
		return fail(unix.EINVAL)
	case f&needThread != needThread || f&^knownThread != 0 || c.setTIDSize != 0:
		t.m.log.Warn("clone with flags that kmdev does not serve", "flags", c.flags)
		return fail(unix.EINVAL)
	}
	if c.flags&unix.CLONE_SETTLS != 0 && c.tls >= usermem.Size {
		return fail(unix.EPERM)
	}
	return t.newSibling(c)
}

func (t *Thread) newSibling(c *cloneArgs) uint64 {
	m := t.m
	child, err := m.newThread()
	if err != nil {
		m.log.Warn("clone", "err", err)
		return fail(unix.EAGAIN)
	}
	state, err := t.xsaveBuf()
	if err != nil {
		m.log.Error("clone", "err", err)
		child.unmake()
		return fail(unix.EAGAIN)
	}
	regs := t.v.Run.Regs
	regs.Rax = 0
	if c.stack != 0 {
		regs.Rsp = c.stack
	}
	fs, gs := t.v.Run.Sregs.FS.Base, t.v.Run.Sregs.GS.Base
	if c.flags&unix.CLONE_SETTLS != 0 {
		fs = c.tls
	}
	child.sig = t.sig.Clone()
	if c.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		child.clearTID = c.childTID
	}
	copied := append([]byte(nil), state...)
	tid, e := child.spawn(t, func() {
		child.load(&regs, fs, gs)
		if err := child.v.SetXsave(copied); err != nil {
			m.log.Error("vector state of a new thread", "err", err)
		}
		if c.flags&unix.CLONE_CHILD_SETTID != 0 {
			usermem.WriteUint32(c.childTID, uint32(child.tid))
		}
		if c.flags&unix.CLONE_PARENT_SETTID != 0 {
			usermem.WriteUint32(c.parentTID, uint32(child.tid))
		}
		m.threadCreated(t, child)
	})
	if e != 0 {
		child.unmake()
		return fail(e)
	}
	return uint64(tid)
}

// newProcess is a clone without CLONE_THREAD.
func (t *Thread) newProcess(c *cloneArgs) uint64 {
	if c.flags&unix.CLONE_SETTLS != 0 && c.tls >= usermem.Size {
		return fail(unix.EPERM)
	}
	switch c.flags & (unix.CLONE_VM | unix.CLONE_VFORK) {
	case unix.CLONE_VM:
		t.m.Notef("clone with CLONE_VM and neither CLONE_THREAD nor CLONE_VFORK is refused: two processes that run at once can't share a VM")
		return fail(unix.EINVAL)
	case unix.CLONE_VM | unix.CLONE_VFORK:
		return t.vfork(c)
	}
	return t.fork(c)
}

func (t *Thread) sysExit(a *[6]uint64) uint64 {
	t.exit(int(a[0]&0xff) << 8)
	return 0
}

func (t *Thread) sysExitGroup(a *[6]uint64) uint64 {
	t.m.exitGroup(t, int(a[0]&0xff)<<8)
	return 0
}

func (t *Thread) setTIDAddress(a *[6]uint64) uint64 {
	t.clearTID = a[0]
	return uint64(t.tid)
}

// robustHeadSize is sizeof(struct robust_list_head).
const robustHeadSize = 24

func (t *Thread) setRobustList(a *[6]uint64) uint64 {
	if a[1] != robustHeadSize {
		return fail(unix.EINVAL)
	}
	t.robust.head, t.robust.length = a[0], a[1]
	return 0
}

func (t *Thread) getRobustList(a *[6]uint64) uint64 {
	of := t
	if tid := int(int32(a[0])); tid != 0 {
		t.m.mu.Lock()
		of = t.m.threads[tid]
		t.m.mu.Unlock()
		if of == nil {
			return fail(unix.ESRCH)
		}
	}
	if e := usermem.WriteUint64(a[2], robustHeadSize); e != 0 {
		return fail(e)
	}
	return fail(usermem.WriteUint64(a[1], of.robust.head))
}

// Bits of a robust futex word (futex(2)), and how many list entries the kernel follows.
const (
	futexTIDMask   = 0x3fffffff
	futexOwnerDied = 0x40000000
	futexWaiters   = 0x80000000
	robustLimit    = 2048
)

// releaseRobust walks the list of robust mutexes the thread still holds, as the kernel does at its exit (exit_robust_list):
// the kernel itself could not, since the list's addresses are the payload's.
func (t *Thread) releaseRobust() {
	if t.robust.head == 0 {
		return
	}
	head := t.robust.head
	next, e := usermem.ReadUint64(head)
	if e != 0 {
		return
	}
	offset, e := usermem.ReadUint64(head + 8)
	if e != 0 {
		return
	}
	pending, e := usermem.ReadUint64(head + 16)
	if e != 0 {
		return
	}
	for range robustLimit {
		if next&^1 == head {
			break
		}
		entry := next
		next, e = usermem.ReadUint64(entry &^ 1)
		if entry&^1 != pending&^1 {
			t.ownerDied(entry&^1+offset, entry&1 != 0, false)
		}
		if e != 0 {
			return
		}
	}
	if pending&^1 != 0 {
		t.ownerDied(pending&^1+offset, pending&1 != 0, true)
	}
}

// ownerDied marks one robust futex (handle_futex_death).
func (t *Thread) ownerDied(word uint64, pi, pending bool) {
	for {
		v, e := usermem.ReadUint32(word)
		if e != 0 || word&3 != 0 {
			return
		}
		if pending && !pi && v == 0 {
			t.wake(word)
			return
		}
		if v&futexTIDMask != uint32(t.tid) {
			return
		}
		ok, e := usermem.CompareAndSwapUint32(word, v, v&futexWaiters|futexOwnerDied)
		if e != 0 {
			return
		}
		if ok {
			if !pi && v&futexWaiters != 0 {
				t.wake(word)
			}
			return
		}
	}
}

// arch_prctl(2)'s codes.
const (
	archSetGS = 0x1001
	archSetFS = 0x1002
	archGetFS = 0x1003
	archGetGS = 0x1004
)

func (t *Thread) archPrctl(a *[6]uint64) uint64 {
	s := &t.v.Run.Sregs
	switch a[0] {
	case archSetFS, archSetGS:
		if a[1] >= 1<<47 {
			return fail(unix.EPERM)
		}
		if a[0] == archSetFS {
			s.FS.Base = a[1]
		} else {
			s.GS.Base = a[1]
		}
		t.dirty |= kvm.SyncSregs
		return 0
	case archGetFS:
		return fail(usermem.WriteUint64(a[1], s.FS.Base))
	case archGetGS:
		return fail(usermem.WriteUint64(a[1], s.GS.Base))
	}
	return t.archPrctlHost(a)
}

// archPrctlHost answers the codes that ask what the host can do; those that change the thread (CET, CPUID faulting, AMX
// permission) are refused as by a kernel without the feature.
func (t *Thread) archPrctlHost(a *[6]uint64) uint64 {
	const getXcompSupp, getXcompPerm = 0x1021, 0x1022
	switch a[0] {
	case getXcompSupp, getXcompPerm:
		return fail(usermem.WriteUint64(a[1], t.m.host.XCR0))
	case 0x1011: // ARCH_GET_CPUID
		return 1
	}
	return fail(unix.EINVAL)
}
