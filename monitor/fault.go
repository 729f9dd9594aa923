package monitor

import (
	"encoding/binary"

	"kmdev/monitor/kvm"
	"kmdev/monitor/memory"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const vectorGP = signal.VectorGP

// exception acts on the exception that t.vector and t.frame describe; the run page's registers are the payload's at the
// fault.
func (t *Thread) exception() {
	f := signal.Fault{Vector: uint8(t.vector), Err: t.frame.Err}
	switch t.vector {
	case signal.VectorPF:
		if t.pageFault(&f) {
			return
		}
	case signal.VectorDB:
		if t.stepped(&f) {
			return
		}
	case signal.VectorBP:
		kvm.ClearException(&t.v.Run.Events)
		t.dirty |= kvm.SyncEvents
		if t.breakpointHit() {
			return
		}
	case signal.VectorUD:
		t.softwareInterrupt(&f)
	case signal.VectorMF, signal.VectorXM:
		if fp, err := t.xsaveBuf(); err == nil {
			f.FP = signal.ReadFPStatus(fp)
		}
	}
	t.raise(f)
}

// raise turns a fault into its signal.
func (t *Thread) raise(f signal.Fault) {
	t.call = -1
	t.sig.SetTrap(f)
	info, ok := f.Info(&t.v.Run.Regs)
	if !ok {
		return
	}
	t.force(&info)
	t.busy = true
}

// reservedBit of a page fault's error code: a reserved bit is set in an entry. None ever is, yet PVM says so of addresses in
// the upper half.
const reservedBit = 1 << 3

// pageFault asks the address space; true if the payload just goes on.
func (t *Thread) pageFault(f *signal.Fault) bool {
	run := t.v.Run
	f.CR2 = run.Sregs.CR2
	f.Err &^= reservedBit
	if t.frame.RIP == t.m.pad.LSTAR() && !t.m.pad.PVM() {
		// SYSCALL stayed at CPL 3 and could not fetch the supervisor's entry: this is a PVM host after all.
		t.switchEntry(true)
		t.fromSyscall()
		t.kernel = true
		t.hypercall()
		return true
	}
	r := t.m.as.Fault(f.CR2, f.Err, run.Regs.Rsp)
	if r.Resolved() {
		return true
	}
	f.Page = pageVerdicts[r]
	return false
}

// pageVerdicts maps what the address space says of a fault to what package signal makes of it; all else is unmapped.
var pageVerdicts = map[memory.FaultResult]signal.Page{
	{Signal: unix.SIGSEGV, Code: memory.SegvAccErr}: signal.PageProtected,
	{Signal: unix.SIGBUS, Code: memory.BusAdrErr}:   signal.PageBeyondEOF,
	{Signal: unix.SIGBUS, Code: memory.BusMceErrAR}: signal.PagePoisoned,
}

// softwareInterrupt makes one thing of what hosts make of INT n without a gate: hardware raises #GP, PVM #UD. Linux raises
// #GP, whose error code names the gate.
func (t *Thread) softwareInterrupt(f *signal.Fault) {
	var code [2]byte
	if usermem.CopyIn(code[:], t.v.Run.Regs.Rip) != 0 || code[0] != 0xcd {
		return
	}
	const idt = 2
	f.Vector, f.Err = signal.VectorGP, uint64(code[1])<<3|idt
}

// rseqArea is what rseq(2) registered.
type rseqArea struct {
	addr uint64
	size uint32
	sig  uint32
	cpu  int32
}

// Layout of struct rseq and struct rseq_cs (linux/rseq.h), in bytes.
const (
	rseqCPUStart = 0
	rseqCPU      = 4
	rseqCS       = 8
	rseqNode     = 20
	rseqMMCID    = 24

	rseqMinSize = 32
	csStart     = 8
	csLength    = 16
	csAbort     = 24
)

// abortRseq sends a thread that is inside a restartable sequence to the sequence's abort handler, before a signal handler
// is entered (rseq_signal_deliver). A preemption of the vCPU, which Linux treats the same, is not seen by the monitor:
// see docs/adr/0003-rseq.md.
func (t *Thread) abortRseq() {
	if t.rseq.addr == 0 {
		return
	}
	cs, e := usermem.ReadUint64(t.rseq.addr + rseqCS)
	if e != 0 || cs == 0 {
		return
	}
	var raw [32]byte
	if usermem.CopyIn(raw[:], cs) != 0 {
		return
	}
	usermem.WriteUint64(t.rseq.addr+rseqCS, 0)
	start := binary.LittleEndian.Uint64(raw[csStart:])
	length := binary.LittleEndian.Uint64(raw[csLength:])
	abort := binary.LittleEndian.Uint64(raw[csAbort:])
	if r := &t.v.Run.Regs; r.Rip-start < length {
		r.Rip = abort
	}
}
