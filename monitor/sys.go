package monitor

import (
	"kmdev/monitor/hypercall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/signal"
	"kmdev/monitor/sys"

	"golang.org/x/sys/unix"
)

// handler serves one hypercall on its thread and gives the kernel's result: values in [-4095, -1] are -errno or a restart
// code.
type handler = func(t *Thread, a *[6]uint64) uint64

// machineCalls are the families of hypercalls that this package serves.
var machineCalls = []map[int]handler{signalCalls, threadCalls, memoryCalls, processCalls, seccompCalls}

// functions has what serves the rows that are marked so, by number. It is filled once, before the payload runs.
var functions [hypercall.Max + 1]handler

func registerHandlers() {
	sys.Register(func(nr int, fn sys.Handler) {
		functions[nr] = func(t *Thread, a *[6]uint64) uint64 { return fn(t, a) }
	})
	for _, family := range machineCalls {
		for nr, fn := range family {
			functions[nr] = fn
		}
	}
}

// serve carries out hypercall nr with the arguments in t.args.
func (t *Thread) serve(nr uint64) uint64 {
	row := hypercall.Lookup(int(uint32(nr)))
	if row == nil {
		t.m.Refused(t, nr, nil)
		return fail(unix.ENOSYS)
	}
	switch row.Serve.How() {
	case hypercall.Pass:
		t.scratch.Reset()
		return hypercall.PassThrough(t, row, &t.args)
	case hypercall.Handle:
		if fn := functions[row.Nr]; fn != nil {
			t.scratch.Reset()
			return fn(t, &t.args)
		}
	}
	t.m.Refused(t, nr, row)
	if e := row.Serve.Errno(); e != 0 {
		return fail(e)
	}
	return fail(unix.ENOSYS)
}

// hypercall serves the SYSCALL that t has just made.
func (t *Thread) hypercall() {
	r := &t.v.Run.Regs
	nr := r.Rax
	t.args = [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
	t.call = int64(uint32(nr))
	if t.m.debug.catching.Load() {
		nr = t.catchEntry(nr)
	}
	if c := t.confined.Load(); c != nil && !t.permits(c, nr) {
		if !t.done && (t.stepping || t.m.debug.catching.Load()) {
			t.afterCallDebug(nr)
		}
		return
	}
	ret := uint64(0)
	if v := t.m.vfork; v == nil {
		ret = t.serve(nr)
	} else {
		ret = t.serveVforked(v, nr)
	}
	if t.done {
		return
	}
	if t.call >= 0 { // rt_sigreturn has set its registers itself
		r.Rax = ret
		t.dirty |= kvm.SyncRegs
	}
	t.afterCall(nr, ret)
}

// afterCall notes what must be settled before the guest goes on.
func (t *Thread) afterCall(nr, ret uint64) {
	if isRestart(ret) || t.block.Taken() {
		if ret == restartCode(signal.ERestartNoHand) && !t.block.Taken() && len(t.held) == 0 && t.want.Load() == 0 {
			t.v.Run.Regs.Rax = fail(unix.EINTR) // nothing of ours ended it: the host's own EINTR
		}
		t.busy = true
	} else if t.call >= 0 {
		t.call = -1
	}
	if t.rseq.addr != 0 {
		t.updateRseq()
	}
	if t.stepping || t.m.debug.catching.Load() {
		t.afterCallDebug(nr)
	}
}

// fail is -errno, or 0 for none.
func fail(e unix.Errno) uint64 { return -uint64(e) }

func restartCode(code int64) uint64 { return uint64(-code) }

// isRestart tells whether ret is one of Linux's internal restart codes (-512 … -516).
func isRestart(ret uint64) bool { return ret >= ^uint64(516)+1 && ret <= ^uint64(512)+1 }
