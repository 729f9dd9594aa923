package monitor

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"kmdev/monitor/guest"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Thread is a payload thread: a vCPU, a host thread (tid is the payload's and the host's) and what Linux keeps per
// task. All fields belong to the thread itself but want and those of park.
type Thread struct {
	m       *Machine
	tid     int
	v       *vcpu
	block   *hostcall.Block
	scratch *hypercall.Scratch
	sig     *signal.ThreadState
	args    [6]uint64
	ctx     *signal.Context
	xsave   []byte // buffer for KVM_GET_XSAVE, allocated at first use

	// How the vCPU stands; see arrive and prepare.
	dirty            uint64 // sync_regs to write at the next entry
	kernel           bool   // it is inside the landing pad's supervisor code
	sysret           bool   // … at the SYSCALL entry
	padRIP, padFlags uint64
	vector           int
	frame            guest.Frame
	generation       uint64 // the address space's, before the entry

	// busy: signals may be pending, or a restart is to be decided, before the next entry.
	busy bool
	held []signal.Siginfo // taken from the host already
	done bool
	// call is the number of the hypercall whose result is in RAX and may still be a restart code; -1 otherwise.
	call int64

	restart func(hypercall.Task) uint64 // for restart_syscall

	// confined is what seccomp(2) has made of the thread. Other threads set it with m.mu held.
	confined atomic.Pointer[confinement]

	clearTID uint64 // set_tid_address
	robust   struct{ head, length uint64 }
	rseq     rseqArea

	// want holds requests of other threads; whoever sets a bit kicks the thread after.
	want atomic.Uint32
	park parking

	stepping  bool // TF is ours
	payloadTF bool // TF is the payload's as well
	stepFrom  uint64
	stepTo    uint64
}

// Bits of Thread.want.
const (
	wantStop       = 1 << iota // park for the debugger
	wantExit                   // the process is going away
	wantNoNewPrivs             // another thread's TSYNC
)

// newThread makes the state of a thread; the caller's host thread is not yet the thread's own.
func (m *Machine) newThread() (*Thread, error) {
	v, err := m.takeVCPU()
	if err != nil {
		return nil, err
	}
	b, err := hostcall.Reserve()
	if err != nil {
		m.giveBack(v)
		return nil, err
	}
	t := &Thread{m: m, v: v, block: b, scratch: hypercall.NewScratch(), sig: signal.NewThreadState(0), call: -1}
	t.park.init()
	return t, nil
}

// unmake takes back what newThread has made, for a thread that never came to be.
func (t *Thread) unmake() {
	t.m.giveBack(t.v)
	t.block.Discard()
	t.scratch.Free()
}

// enroll makes the thread one of the machine's. On its own host thread. parent is the thread that made it, if any, which
// waits.
func (t *Thread) enroll(parent *Thread) {
	t.tid = unix.Gettid()
	t.block.Adopt()
	m := t.m
	m.mu.Lock()
	if parent != nil {
		t.confined.Store(parent.confined.Load())
		t.want.Or(parent.want.Load() & wantNoNewPrivs)
	}
	m.threads[t.tid] = t
	m.order = append(m.order, t)
	m.running++
	threads := len(m.order)
	m.mu.Unlock()
	m.publishThreads()
	if threads > 1 {
		growProcs(threads)
	} else {
		time.AfterFunc(startTime, func() { growProcs(1) })
	}
}

// startTime is how long a payload lives before a single P becomes too few: the one thread needs none but its own, and many
// programs have ended by then.
const startTime = 5 * time.Millisecond

// growProcs keeps more Ps than vCPUs that can run, so that coming back from KVM_RUN finds an idle one at once. It stops
// the world, so it doubles.
func growProcs(threads int) {
	need := min(threads+2, runtime.NumCPU()+2)
	if p := runtime.GOMAXPROCS(0); p < need {
		runtime.GOMAXPROCS(need)
	}
}

// exit ends the thread: what Linux's mm_release does, then the vCPU goes back. status is wait(2)'s. On the thread itself.
func (t *Thread) exit(status int) {
	m := t.m
	if m.vfork != nil { // its only thread
		m.exitGroup(t, status)
		return
	}
	t.done = true
	t.releaseRobust()
	m.mu.Lock()
	delete(m.threads, t.tid)
	for i, o := range m.order {
		if o == t {
			m.order = append(m.order[:i:i], m.order[i+1:]...)
			break
		}
	}
	m.running--
	last := m.running == 0
	m.mu.Unlock()
	if last {
		m.exitGroup(t, status) // the last one's is the process's, since Linux 6.0; before it was the leader's
	}
	m.publishThreads()
	// Whoever waits for the thread may look for it in /proc then.
	if t.clearTID != 0 && usermem.WriteUint32(t.clearTID, 0) == 0 {
		t.wake(t.clearTID)
	}
	m.giveBack(t.v)
	t.block.Free()
	t.scratch.Free()
	m.threadGone(t, status)
}

// wake wakes one waiter on the futex at gva, as the kernel does for a cleared tid.
func (t *Thread) wake(gva uint64) {
	const futexWake = 1 // not FUTEX_PRIVATE_FLAG: a waiter may be in another process
	if host, ok := usermem.Host(gva, 4); ok {
		hostcall.Raw(unix.SYS_FUTEX, host, futexWake, 1, 0, 0, 0)
	}
}

// xsaveRoom is the thread's buffer for its vector state.
func (t *Thread) xsaveRoom() []byte {
	if t.xsave == nil {
		t.xsave = make([]byte, max(t.m.host.Sys.Check(kvm.CapXsave2), kvm.LegacyXsaveSize))
	}
	return t.xsave
}

// xsaveBuf reads the thread's vector state into that buffer. On the thread itself, or while it is parked.
func (t *Thread) xsaveBuf() ([]byte, error) {
	b := t.xsaveRoom()
	return b, t.v.GetXsave(b)
}

// The methods of hypercall.Task.

var _ hypercall.Task = (*Thread)(nil)

// HostMask is what the host blocks for the thread; IgnoredMask the part of it that the payload ignores.
func (t *Thread) HostMask() uint64    { return uint64(t.m.hostMask(t)) }
func (t *Thread) IgnoredMask() uint64 { return uint64(t.m.ignored()) }

func (t *Thread) Scratch() *hypercall.Scratch               { return t.scratch }
func (t *Thread) Pid() int                                  { return t.m.pid }
func (t *Thread) Tid() int                                  { return t.tid }
func (t *Thread) FDLimit() int                              { return t.m.fds.Bound() }
func (t *Thread) Process() hypercall.Process                { return t.m }
func (t *Thread) SetRestart(fn func(hypercall.Task) uint64) { t.restart = fn }

// Sleep makes a host call that may sleep. A signal of the payload's, or a kick, ends it. One that an earlier sleep of the
// same hypercall took has its turn first.
func (t *Thread) Sleep(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	if t.block.Taken() {
		return uintptr(restartCode(signal.ERestartNoIntr))
	}
	return t.block.Call(uint64(t.m.hostMask(t)), nr, a0, a1, a2, a3, a4, a5)
}

// SleepMasked sleeps in a call that swaps the mask itself. A signal that it lets in is delivered whatever the thread's own
// mask says, and the handler's frame brings that mask back; without one it comes back at once.
func (t *Thread) SleepMasked(mask uint64, nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	r := t.Sleep(nr, a0, a1, a2, a3, a4, a5)
	if t.block.Taken() {
		t.sig.SetTemporary(signal.Set(mask))
		t.busy = true
	}
	return r
}

// spawn starts parent's new thread t on a host thread of its own, the child of the parent's, and returns its tid, once it exists.
// setup runs there before anything of the payload does. On the parent's thread.
func (t *Thread) spawn(parent *Thread, setup func()) (tid int, e unix.Errno) {
	ready := make(chan int, 1)
	heir := new(hostcall.Heir)
	go func() {
		runtime.LockOSThread() // never unlocked: the host thread ends with the goroutine
		if !heir.Offer() {
			return
		}
		t.enroll(parent)
		setup()
		ready <- t.tid
		t.run()
	}()
	if e := heir.Take(); e != 0 {
		return 0, e
	}
	return <-ready, 0
}

func (t *Thread) String() string { return fmt.Sprintf("thread %d", t.tid) }
