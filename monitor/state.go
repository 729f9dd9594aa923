package monitor

import (
	"bytes"
	"encoding/binary"
	"log/slog"

	"kmdev/monitor/confine"
	"kmdev/monitor/handover"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/loader"
	"kmdev/monitor/memory"
	"kmdev/monitor/seccomp"
	"kmdev/monitor/signal"
	"kmdev/monitor/sys"

	"golang.org/x/sys/unix"
)

// inheritance is what a monitor finds when it does not start a payload but goes on with one: as a forked child, or as the
// process that has called execve. The descriptors in it are kept ones (fdTable.Keep).
type inheritance struct {
	forked bool // else executed
	early  bool // the entry has made the VM

	opts        Options
	host        Host
	limit       unix.Rlimit
	limits      [len(ownLimits)]unix.Rlimit
	tree        int  // the tree's file; -1: there is none
	told        bool // forked: the host knows where the payload's arguments are
	actions     signal.Table
	sig         signal.Snapshot
	personality uint64
	confined    *confinement
	selfFD      int
	statsFD     int
	parentFD    int
	pidsLimit   uint64 // see Machine.crowded
	birth       birth  // forked
	shared      bool   // forked: the descriptor table is the parent's (CLONE_FILES)

	program loader.Handed // executed
	child   childState    // forked
}

// childState is the rest of a forked child's state.
type childState struct {
	args     []string
	exe      string
	exeFD    int
	memory   memory.State
	start    loader.Start
	regs     kvm.Regs
	fs, gs   uint64
	xsave    []byte
	clearTID uint64
	rseq     rseqArea
	hidden   []hiddenByte
	vdso     loader.HostVDSO // where the parent, and so the child, has it
}

// write encodes what both kinds inherit.
func (in *inheritance) write(w *handover.Writer) {
	w.Bool(in.forked)
	in.writeOptions(w)
	h := &in.host
	w.Int(h.Sys.MmapSize())
	w.Int(len(h.CPUID))
	for i := range h.CPUID {
		e := &h.CPUID[i]
		w.Uints(uint64(e.Function)<<32|uint64(e.Index), uint64(e.Flags)<<32|uint64(e.Eax), uint64(e.Ebx)<<32|uint64(e.Ecx), uint64(e.Edx))
	}
	w.Uint(h.XCR0)
	w.Bool(h.PVM)
	w.Int(h.Slots)
	w.Int(h.PhysBits)
	w.Uints(in.limit.Cur, in.limit.Max)
	for _, l := range in.limits {
		w.Uints(l.Cur, l.Max)
	}
	w.Int(in.tree)
	w.Bool(in.told)
	in.actions.Encode(w)
	in.sig.Encode(w)
	w.Uint(in.personality)
	in.confined.write(w)
	filters, payloads := confine.NoNewPrivs()
	w.Bool(filters)
	w.Bool(payloads)
	w.Int(in.selfFD)
	w.Int(in.statsFD)
	w.Int(in.parentFD)
	w.Uint(in.pidsLimit)
	in.birth.write(w)
	w.Bool(in.shared)
	if in.forked {
		in.child.write(w)
	} else {
		p := &in.program
		w.String(p.Filename)
		w.String(p.Exe)
		w.Int(p.Exec)
		w.Int(p.Interp)
	}
	sys.EncodeProc(w)
}

// cpuidEntrySize is what an entry of the CPUID table takes.
const cpuidEntrySize = 4 * 8

func (in *inheritance) read(r *handover.Reader) {
	in.forked = r.Bool()
	in.readOptions(r)
	h := &in.host
	h.Device = in.opts.Device
	h.Sys, in.early = kvm.Adopt(r.Int())
	h.CPUID = make([]kvm.CPUIDEntry, r.Count(cpuidEntrySize))
	for i := range h.CPUID {
		a, b, c, d := r.Uint(), r.Uint(), r.Uint(), r.Uint()
		h.CPUID[i] = kvm.CPUIDEntry{Function: uint32(a >> 32), Index: uint32(a), Flags: uint32(b >> 32), Eax: uint32(b),
			Ebx: uint32(c >> 32), Ecx: uint32(c), Edx: uint32(d)}
	}
	h.XCR0, h.PVM, h.Slots, h.PhysBits = r.Uint(), r.Bool(), r.Int(), r.Int()
	in.limit = unix.Rlimit{Cur: r.Uint(), Max: r.Uint()}
	for i := range in.limits {
		in.limits[i] = unix.Rlimit{Cur: r.Uint(), Max: r.Uint()}
	}
	in.tree, in.told = r.Int(), r.Bool()
	in.actions.Decode(r)
	in.sig.Decode(r)
	in.personality = r.Uint()
	in.confined = readConfinement(r)
	filters := r.Bool()
	confine.InheritNoNewPrivs(filters, r.Bool())
	in.selfFD, in.statsFD, in.parentFD = r.Int(), r.Int(), r.Int()
	in.pidsLimit = r.Uint()
	in.birth.read(r)
	in.shared = r.Bool()
	if in.forked {
		in.child.read(r)
	} else {
		in.program = loader.Handed{Filename: r.String(), Exe: r.String(), Exec: r.Int(), Interp: r.Int()}
	}
	sys.DecodeProc(r)
}

func (in *inheritance) writeOptions(w *handover.Writer) {
	o := &in.opts
	w.String(o.Device)
	w.Int(o.LogFD)
	w.Int(int(o.LogLevel))
	w.Bool(o.AbortUnimplemented)
	w.Int(len(o.Uname))
	for name, text := range o.Uname {
		w.String(name)
		w.String(text)
	}
}

func (in *inheritance) readOptions(r *handover.Reader) {
	o := &in.opts
	o.Device, o.LogFD, o.LogLevel, o.AbortUnimplemented = r.String(), r.Int(), slog.Level(r.Int()), r.Bool()
	if n := r.Count(16); n > 0 {
		o.Uname = make(map[string]string, n)
		for range n {
			name := r.String()
			o.Uname[name] = r.String()
		}
	}
}

func (c *childState) write(w *handover.Writer) {
	w.Strings(c.args)
	w.String(c.exe)
	w.Int(c.exeFD)
	c.memory.Encode(w)
	c.start.Encode(w)
	regs, _ := binary.Append(nil, binary.LittleEndian, &c.regs) // a struct of numbers: no error
	w.Blob(regs)
	w.Uints(c.fs, c.gs)
	w.Blob(c.xsave)
	w.Uints(c.clearTID, c.rseq.addr, uint64(c.rseq.size), uint64(c.rseq.sig))
	v := &c.vdso
	w.Uints(v.VvarStart, v.VvarSize, v.VdsoStart, v.VdsoSize, v.VclockStart)
	w.Int(len(c.hidden))
	for _, b := range c.hidden {
		w.Uints(b.addr, uint64(b.original))
	}
}

func (c *childState) read(r *handover.Reader) {
	c.args, c.exe, c.exeFD = r.Strings(), r.String(), r.Int()
	c.memory.Decode(r)
	c.start.Decode(r)
	binary.Read(bytes.NewReader(r.Blob()), binary.LittleEndian, &c.regs) //nolint:errcheck // a short one shows at the end
	c.fs, c.gs, c.xsave = r.Uint(), r.Uint(), r.Blob()
	c.clearTID = r.Uint()
	c.rseq = rseqArea{addr: r.Uint(), size: uint32(r.Uint()), sig: uint32(r.Uint()), cpu: -1}
	c.vdso = loader.HostVDSO{VvarStart: r.Uint(), VvarSize: r.Uint(), VdsoStart: r.Uint(), VdsoSize: r.Uint(), VclockStart: r.Uint()}
	c.hidden = make([]hiddenByte, r.Count(16))
	for i := range c.hidden {
		c.hidden[i] = hiddenByte{r.Uint(), byte(r.Uint())}
	}
}

// inherit is what this process leaves to the next monitor: to a child of thread t, or to the program that t executes.
func (m *Machine) inherit(t *Thread) *inheritance {
	in := &inheritance{opts: m.opts, host: *m.host, limit: m.fds.Limit(), limits: m.limits.list(), tree: m.treeFD(), told: m.told,
		actions: m.actions.Table(), sig: t.sig.Snapshot(),
		personality: m.personality.Load(), confined: t.confined.Load(), selfFD: m.selfFD, statsFD: m.statsFD, parentFD: m.parentFD,
		pidsLimit: m.pidsLimit(), birth: birth{-1, -1}}
	return in
}

// write encodes c, which may be nil.
func (c *confinement) write(w *handover.Writer) {
	w.Uint(c.mode())
	w.Blob(c.chain().Append(nil))
}

// readConfinement reads what write wrote. A filter that can't be read confines to nothing but what strict mode allows.
func readConfinement(r *handover.Reader) *confinement {
	mode, blob := r.Uint(), r.Blob()
	switch mode {
	case 0:
		return nil
	case seccompFilter:
		if f, err := seccomp.ReadFilter(blob); err == nil {
			return &confinement{filter: f}
		}
	}
	return &confinement{strict: true}
}

// kept are the descriptors that the inheritance names.
func (in *inheritance) kept() []int {
	list := []int{in.host.Sys.FD, in.opts.LogFD, in.selfFD, in.statsFD, in.parentFD, in.program.Exec, in.program.Interp, in.child.exeFD, in.tree,
		in.birth.up, in.birth.stderr, sys.ProcFD()}
	n := 0
	for _, fd := range list {
		if fd >= keptBase() && fd < hostcall.FDEnd() {
			list[n] = fd
			n++
		}
	}
	return list[:n]
}
