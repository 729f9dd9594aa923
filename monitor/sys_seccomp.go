package monitor

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kmdev/monitor/confine"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/seccomp"
	"kmdev/monitor/signal"
	"kmdev/monitor/sys"
	"kmdev/monitor/usermem"
)

// seccompCalls are the hypercalls about seccomp(2), which the monitor keeps itself: a filter of the host's would see the
// monitor's system calls.
var seccompCalls = map[int]handler{
	unix.SYS_SECCOMP: func(t *Thread, a *[6]uint64) uint64 { return t.sysSeccomp(uint32(a[0]), uint32(a[1]), a[2]) },
	unix.SYS_PRCTL:   (*Thread).prctl,
}

// confinement is a thread's seccomp state; a thread without any has nil. It never changes, so that threads share it.
type confinement struct {
	strict bool
	filter *seccomp.Filter // with !strict
}

// Modes, as PR_GET_SECCOMP and /proc/pid/status give them.
const (
	seccompStrict = 1
	seccompFilter = 2
)

func (c *confinement) mode() uint64 {
	switch {
	case c == nil:
		return 0
	case c.strict:
		return seccompStrict
	}
	return seccompFilter
}

func (c *confinement) chain() *seccomp.Filter {
	if c == nil {
		return nil
	}
	return c.filter
}

// Operations and flags of seccomp(2).
const (
	seccompSetStrict   = 0
	seccompSetFilter   = 1
	seccompActionAvail = 2

	flagTsync          = 1
	flagLog            = 2
	flagSpecAllow      = 4
	flagTsyncESRCH     = 16
	knownFilterFlags   = flagTsync | flagLog | flagSpecAllow | flagTsyncESRCH
	sizeSockFprog      = 16
	offFprogFilter     = 8
	sizeofActionNumber = 4
)

// prctl is seccomp(2)'s older face, and for all other options package sys's.
func (t *Thread) prctl(a *[6]uint64) uint64 {
	switch uint32(a[0]) {
	case unix.PR_GET_SECCOMP:
		return t.confined.Load().mode()
	case unix.PR_SET_SECCOMP:
		switch a[1] {
		case seccompStrict:
			return t.sysSeccomp(seccompSetStrict, 0, 0)
		case seccompFilter:
			return t.sysSeccomp(seccompSetFilter, 0, a[2])
		}
		return fail(unix.EINVAL)
	}
	return sys.Prctl(t, a)
}

func (t *Thread) sysSeccomp(op, flags uint32, arg uint64) uint64 {
	switch op {
	case seccompSetStrict:
		if flags != 0 || arg != 0 || t.confined.Load().chain() != nil {
			return fail(unix.EINVAL)
		}
		t.confined.Store(&confinement{strict: true})
		return 0
	case seccompSetFilter:
		return t.setFilter(flags, arg)
	case seccompActionAvail:
		if flags != 0 {
			return fail(unix.EINVAL)
		}
		return actionAvailable(arg)
	}
	return fail(unix.EINVAL) // SECCOMP_GET_NOTIF_SIZES too: no listeners
}

func actionAvailable(gva uint64) uint64 {
	v, e := usermem.ReadUint32(gva)
	if e != 0 {
		return fail(e)
	}
	switch v {
	case seccomp.KillProcess, seccomp.KillThread, seccomp.Trap, seccomp.Errno, seccomp.Trace, seccomp.Log, seccomp.Allow:
		return 0
	}
	return fail(unix.EOPNOTSUPP)
}

// setFilter attaches a program to the calling thread, or with TSYNC to all.
func (t *Thread) setFilter(flags uint32, arg uint64) uint64 {
	if flags&^knownFilterFlags != 0 {
		return fail(unix.EINVAL)
	}
	prog, e := t.readProgram(arg)
	if e != 0 {
		return fail(e)
	}
	m := t.m
	m.mu.Lock()
	defer m.mu.Unlock()
	old := t.confined.Load()
	if old.mode() == seccompStrict {
		return fail(unix.EINVAL)
	}
	if flags&flagTsync != 0 {
		if tid := m.unsyncable(t, old.chain()); tid != 0 {
			if flags&flagTsyncESRCH != 0 {
				return fail(unix.ESRCH)
			}
			return uint64(tid)
		}
	}
	f, e := old.chain().Attach(prog, flags&flagLog != 0)
	if e != 0 {
		return fail(e)
	}
	c := &confinement{filter: f}
	t.confined.Store(c)
	if flags&flagTsync != 0 {
		m.syncConfinement(t, c)
	}
	return 0
}

// readProgram reads and checks what a struct sock_fprog names, in the kernel's order of errors.
func (t *Thread) readProgram(gva uint64) ([]seccomp.Insn, unix.Errno) {
	var raw [sizeSockFprog]byte
	if e := usermem.CopyIn(raw[:], gva); e != 0 {
		return nil, e
	}
	n := int(binary.LittleEndian.Uint16(raw[:]))
	if n == 0 || n > seccomp.MaxInsns {
		return nil, unix.EINVAL
	}
	if !noNewPrivs() && !capableSysAdmin() {
		return nil, unix.EACCES
	}
	b := make([]byte, n*seccomp.InsnSize)
	if e := usermem.CopyIn(b, binary.LittleEndian.Uint64(raw[offFprogFilter:])); e != 0 {
		return nil, e
	}
	prog := seccomp.DecodeProgram(b)
	if !seccomp.Check(prog) {
		return nil, unix.EINVAL
	}
	return prog, 0
}

// noNewPrivs tells whether the calling thread has given up new privileges (PR_SET_NO_NEW_PRIVS).
func noNewPrivs() bool {
	return confine.PayloadNoNewPrivs(hostcall.Raw(unix.SYS_PRCTL, unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0, 0) == 1)
}

// unsyncable returns a thread whose filters are not all of chain, or 0. Under m.mu.
func (m *Machine) unsyncable(t *Thread, chain *seccomp.Filter) int {
	for _, o := range m.order {
		c := o.confined.Load()
		if o != t && (c.mode() == seccompStrict || !chain.Has(c.chain())) {
			return o.tid
		}
	}
	return 0
}

// syncConfinement gives every other thread t's confinement, which counts from its next hypercall on, and t's promise not
// to gain privileges, which only the thread itself can make. Under m.mu.
func (m *Machine) syncConfinement(t *Thread, c *confinement) {
	promise := noNewPrivs()
	for _, o := range m.order {
		if o == t {
			continue
		}
		o.confined.Store(c)
		if promise {
			o.want.Or(wantNoNewPrivs)
			hostcall.Kick(o.tid)
		}
	}
}

// promiseNoNewPrivs does what another thread's SECCOMP_FILTER_FLAG_TSYNC asked for.
func (t *Thread) promiseNoNewPrivs() {
	t.want.And(^uint32(wantNoNewPrivs))
	hostcall.Raw(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	confine.PayloadSetsNoNewPrivs()
}

// permits decides about the hypercall that t has just made, by its confinement. If it says no it has done what the
// filter wants instead, which may be the end of the thread.
func (t *Thread) permits(c *confinement, nr uint64) bool {
	r := &t.v.Run.Regs
	if c.strict {
		switch uint32(nr) {
		case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EXIT, unix.SYS_RT_SIGRETURN:
			return true
		}
		t.exit(int(unix.SIGKILL))
		return false
	}
	data := seccomp.Data{Nr: uint32(nr), Arch: seccomp.ArchX86_64, IP: r.Rip, Args: t.args}
	result, log := c.filter.Run(&data)
	action := result & seccomp.ActionMask
	if action == seccomp.Allow {
		return true
	}
	if log || action == seccomp.Log || !survives(action) {
		t.logConfined(nr, action)
	}
	if action == seccomp.Log {
		return true
	}
	t.deny(&data, action, result&seccomp.DataMask)
	return false
}

// survives tells whether a thread goes on after an action.
func survives(action uint32) bool {
	switch action {
	case seccomp.Log, seccomp.Trace, seccomp.UserNotif, seccomp.Errno, seccomp.Trap:
		return true
	}
	return false
}

const maxErrno = 4095

// deny carries out an action that is neither ALLOW nor LOG. data is the 16 bits that go with it.
func (t *Thread) deny(d *seccomp.Data, action, data uint32) {
	t.call = -1 // never restarted
	r := &t.v.Run.Regs
	t.dirty |= kvm.SyncRegs
	switch action {
	case seccomp.Errno:
		r.Rax = fail(unix.Errno(min(data, maxErrno)))
	case seccomp.Trace, seccomp.UserNotif: // no tracer and no listener
		r.Rax = fail(unix.ENOSYS)
	case seccomp.Trap:
		r.Rax = uint64(int64(int32(d.Nr))) // as at the system call's entry
		info := signal.SeccompInfo(int(int32(d.Nr)), int(data), d.Arch, d.IP)
		t.force(&info)
	case seccomp.KillThread:
		if t.m.Threads() > 1 {
			t.exit(int(unix.SIGSYS))
			return
		}
		fallthrough
	default: // KILL_PROCESS, and whatever the kernel does not know
		t.m.die(unix.SIGSYS)
	}
}

// logConfined is the kernel's audit record of type SECCOMP.
func (t *Thread) logConfined(nr uint64, action uint32) {
	name := "unknown"
	if row := hypercall.Lookup(int(uint32(nr))); row != nil {
		name = row.Name
	}
	t.m.log.Info("the payload's seccomp filter", "hypercall", name, "number", uint32(nr), "action", seccomp.ActionName(action),
		"tid", t.tid, "rip", t.v.Run.Regs.Rip)
}
