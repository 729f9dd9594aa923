package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Changed says which attributes of its host thread a payload thread has
// changed, or has from one that did. Linux gives them to a new thread; the host
// threads of new payload threads come from Go's runtime, which gives them the
// attributes the process began with.
type Changed uint32

// Attributes that only the thread itself can change. What others can change
// too (affinity, scheduling, I/O priority) is always compared.
const (
	ChangedCreds  Changed = 1 << iota // ids, groups, capabilities, securebits, no_new_privs
	ChangedSpaces                     // namespaces, and a root and working directory of its own
	ChangedPolicy                     // NUMA memory policy
	ChangedFlags                      // flags of prctl(2)
)

var inherited = map[int]Changed{
	unix.SYS_SETUID: ChangedCreds, unix.SYS_SETGID: ChangedCreds, unix.SYS_SETREUID: ChangedCreds, unix.SYS_SETREGID: ChangedCreds,
	unix.SYS_SETRESUID: ChangedCreds, unix.SYS_SETRESGID: ChangedCreds, unix.SYS_SETFSUID: ChangedCreds, unix.SYS_SETFSGID: ChangedCreds,
	unix.SYS_SETGROUPS: ChangedCreds, unix.SYS_CAPSET: ChangedCreds,
	unix.SYS_UNSHARE: ChangedSpaces | ChangedCreds, unix.SYS_SETNS: ChangedSpaces | ChangedCreds,
	unix.SYS_SET_MEMPOLICY: ChangedPolicy,
	unix.SYS_PRCTL:         0, // by its option
}

// Inherited calls add for each hypercall that may change such an attribute.
func Inherited(add func(nr int)) {
	for nr := range inherited {
		add(nr)
	}
}

// ChangedBy tells what a hypercall that has just succeeded may have changed.
func ChangedBy(nr int, a *[6]uint64) Changed {
	if nr != unix.SYS_PRCTL {
		return inherited[nr]
	}
	switch uint32(a[0]) {
	case unix.PR_SET_KEEPCAPS, unix.PR_CAPBSET_DROP, unix.PR_SET_SECUREBITS, unix.PR_CAP_AMBIENT, unix.PR_SET_NO_NEW_PRIVS:
		return ChangedCreds
	case unix.PR_SET_TIMERSLACK, unix.PR_MCE_KILL, unix.PR_SET_IO_FLUSHER, unix.PR_SET_SPECULATION_CTRL, unix.PR_SCHED_CORE:
		return ChangedFlags
	}
	return 0
}

// Attributes are those of the thread that makes another.
type Attributes struct {
	tid     int
	changed Changed
	sched   scheduling
	creds   credentials
	policy  memPolicy
	flags   [len(threadFlags)]int
	slack   int
}

// Capture reads the calling thread's attributes. The thread must not change
// them until Adopt has returned.
func Capture(t task, changed Changed) (*Attributes, error) {
	a := &Attributes{tid: t.Tid(), changed: changed}
	if changed&ChangedSpaces != 0 {
		procfs(t)
	}
	a.sched.read(0)
	if changed&ChangedPolicy != 0 {
		a.policy.read()
	}
	if changed&ChangedFlags != 0 {
		a.readFlags()
	}
	if changed&ChangedCreds != 0 {
		if err := a.creds.read(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Adopt gives the calling thread, a new one, the attributes. On an error the
// thread must not run the payload: it may have rights that its maker gave up.
func (a *Attributes) Adopt() error {
	a.sched.adopt()
	if a.changed == 0 {
		return nil
	}
	if a.changed&ChangedPolicy != 0 {
		a.policy.adopt()
	}
	if a.changed&ChangedFlags != 0 {
		a.adoptFlags()
	}
	if a.changed&ChangedSpaces != 0 {
		if err := adoptSpaces(a.tid); err != nil {
			return fmt.Errorf("namespaces: %w", err)
		}
	}
	if a.changed&ChangedCreds != 0 {
		if err := a.creds.adopt(); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
	}
	return nil
}

// threadFlags are flags of a thread that prctl(2) reads and sets by an integer.
// Arguments before the value are fixed.
var threadFlags = [...]struct {
	get, set [2]uintptr
	args     int // before the value
}{
	{[2]uintptr{unix.PR_MCE_KILL_GET}, [2]uintptr{unix.PR_MCE_KILL, unix.PR_MCE_KILL_SET}, 2},
	{[2]uintptr{unix.PR_GET_IO_FLUSHER}, [2]uintptr{unix.PR_SET_IO_FLUSHER}, 1},
	{[2]uintptr{unix.PR_GET_SPECULATION_CTRL, unix.PR_SPEC_STORE_BYPASS}, [2]uintptr{unix.PR_SET_SPECULATION_CTRL, unix.PR_SPEC_STORE_BYPASS}, 2},
	{[2]uintptr{unix.PR_GET_SPECULATION_CTRL, unix.PR_SPEC_INDIRECT_BRANCH}, [2]uintptr{unix.PR_SET_SPECULATION_CTRL, unix.PR_SPEC_INDIRECT_BRANCH}, 2},
	{[2]uintptr{unix.PR_GET_SPECULATION_CTRL, unix.PR_SPEC_L1D_FLUSH}, [2]uintptr{unix.PR_SET_SPECULATION_CTRL, unix.PR_SPEC_L1D_FLUSH}, 2},
}

func flag(i int) int {
	return int(int64(raw(unix.SYS_PRCTL, threadFlags[i].get[0], threadFlags[i].get[1], 0, 0, 0, 0)))
}

func (a *Attributes) readFlags() {
	for i := range threadFlags {
		a.flags[i] = flag(i)
	}
	a.slack = int(raw(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0, 0, 0))
}

// specMask are the bits of PR_GET_SPECULATION_CTRL that may be set again.
const specMask = unix.PR_SPEC_ENABLE | unix.PR_SPEC_DISABLE | unix.PR_SPEC_FORCE_DISABLE | unix.PR_SPEC_DISABLE_NOEXEC

func (a *Attributes) adoptFlags() {
	for i, f := range threadFlags {
		v := a.flags[i]
		if v < 0 || v == flag(i) {
			continue
		}
		p := [3]uintptr{f.set[0], f.set[1]}
		if f.set[0] == unix.PR_SET_SPECULATION_CTRL {
			v &= specMask
		}
		p[f.args] = uintptr(v)
		raw(unix.SYS_PRCTL, p[0], p[1], p[2], 0, 0, 0)
	}
	if a.slack > 0 {
		raw(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(a.slack), 0, 0, 0, 0)
	}
	const pidtypePID = 0
	raw(unix.SYS_PRCTL, unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_SHARE_FROM, uintptr(a.tid), pidtypePID, 0, 0)
}
