package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Bits of a page fault's error code (Intel SDM vol. 3, 4.7).
const (
	faultPresent = 1 << 0
	faultWrite   = 1 << 1
	faultFetch   = 1 << 4
)

// si_code values of the signals a fault may send.
const (
	SegvMapErr   = 1
	SegvAccErr   = 2
	BusAdrErr    = 2
	BusObjErr    = 3
	BusMceErrAR  = 4
	noSignal     = unix.Signal(0)
	spuriousTry  = 64   // the same spurious fault so often: KVM is made to forget its shadow pages
	spuriousStop = 1024 // so often: the payload gets a signal instead of a livelock
)

// FaultResult is what becomes of a page fault. If Signal is 0 the instruction is to be run again; else the payload gets
// that signal with this si_code and the faulting address as si_addr.
type FaultResult struct {
	Signal unix.Signal
	Code   int32
}

// Resolved tells whether the payload may go on.
func (r FaultResult) Resolved() bool { return r.Signal == noSignal }

var (
	resolved = FaultResult{}
	mapErr   = FaultResult{unix.SIGSEGV, SegvMapErr}
	accErr   = FaultResult{unix.SIGSEGV, SegvAccErr}
	busErr   = FaultResult{unix.SIGBUS, BusAdrErr}
)

// spurious counts page faults in a row that the tables do not explain, at one page.
type spurious struct {
	page, generation uint64
	n                int
}

// Fault decides on the payload's page fault at gva with the CPU's error code. rsp is its stack pointer, which Linux does not
// look at either. On the vCPU's thread, outside the guest.
func (as *AddressSpace) Fault(gva, code, rsp uint64) FaultResult {
	if gva >= usermem.Size {
		return mapErr
	}
	f := fault{page: pageDown(gva), need: protRead}
	switch {
	case code&faultFetch != 0:
		f.need = protExec
	case code&faultWrite != 0:
		f.need = protWrite
	}
	for {
		r, again := as.tryFault(&f)
		if !again {
			return r
		}
	}
}

// fault is a page fault being decided on.
type fault struct {
	page uint64
	need uint32 // the right it needs
	// probed tells that the host has been asked for the page while the address space was at generation.
	probed     bool
	generation uint64
	answer     FaultResult
}

// tryFault decides on f. If the host must be asked for the page first, which may take long and wait for other threads of the
// payload (a file system may be one), it does that without the lock, and again is true.
func (as *AddressSpace) tryFault(f *fault) (r FaultResult, again bool) {
	as.mu.Lock()
	if !f.probed {
		as.stats.Faults++
	}
	v := as.vmas.find(f.page)
	if v == nil {
		v = as.growDown(f.page)
	}
	switch {
	case v == nil:
		r = mapErr
	case !allows(v.Prot, f.need):
		r = accErr
	case as.mustProbe(v, f):
		seen, copied := as.generation.Load(), *v
		as.mu.Unlock()
		f.probed, f.generation, f.answer = true, seen, probe(&copied, f.page, f.need)
		return r, true
	case f.probed && !f.answer.Resolved():
		r = f.answer
	default:
		var w window
		r, w = as.resolve(v, f)
		as.mu.Unlock()
		as.populateWindow(w)
		return r, false
	}
	as.mu.Unlock()
	return r, false
}

// mustProbe tells whether only the host knows if there is anything at f's page.
func (as *AddressSpace) mustProbe(v *VMA, f *fault) bool {
	if f.probed && f.generation == as.generation.Load() || !as.probing && f.page < v.extent() && !v.hostBacked() {
		return false
	}
	as.stats.Probes++
	return true
}

// allows tells whether x86 page tables for prot grant the access.
func allows(prot, need uint32) bool {
	if need == protRead {
		return prot&protAll != 0
	}
	return prot&need != 0
}

// resolve makes the entry for f's page, which v allows. as.mu is held.
func (as *AddressSpace) resolve(v *VMA, f *fault) (FaultResult, window) {
	if e, _ := as.tables.entry(f.page); e != 0 {
		return as.spuriousFault(f.page), window{}
	}
	start, end, w := as.choose(v, f.page, f.need)
	if as.install(v, start, end) != nil && as.install(v, f.page, f.page+pageSize) != nil {
		return FaultResult{unix.SIGBUS, BusObjErr}, window{}
	}
	as.stats.Installs++
	if w.stream != nil {
		as.await(w.stream, w.start, f.page)
		as.await(w.stream, f.page+pageSize, w.end)
	}
	return resolved, w
}

// spuriousFault answers a fault that the entry does not explain: another thread has installed it meanwhile, or the CPU's
// TLB was behind. Running again resolves both; a fault that comes back for ever must not.
func (as *AddressSpace) spuriousFault(page uint64) FaultResult {
	as.stats.Spurious++
	s, g := &as.spurious, as.generation.Load()
	if s.page != page || s.generation != g {
		*s = spurious{page: page, generation: g}
	}
	s.n++
	switch {
	case s.n == spuriousTry:
		as.forget()
	case s.n >= spuriousStop:
		s.n = 0
		return FaultResult{unix.SIGBUS, BusObjErr}
	}
	return resolved
}

// probe finds out whether the host can provide the page for the access: a file may end before it, its medium may fail.
func probe(v *VMA, page uint64, need uint32) FaultResult {
	advice := uint64(unix.MADV_POPULATE_READ)
	if need == protWrite {
		advice = unix.MADV_POPULATE_WRITE
	}
	if v.hostBacked() {
		if !v.readable(page) {
			return busErr
		}
		return resolved
	}
	switch hostAdvise(page, pageSize, advice) {
	case unix.EFAULT, unix.ENOMEM:
		return busErr
	case unix.EHWPOISON:
		return FaultResult{unix.SIGBUS, BusMceErrAR}
	}
	return resolved // populated, or not a mapping that can be (EINVAL): the host decides on access
}

// Revalidate is called by a vCPU thread whose KVM_RUN failed with EFAULT; seen is the Generation it read before it
// entered. It waits for a change of mappings that is going on, and tells whether entering again can help. If nothing
// has changed, some page can't be provided by the host, and KVM does not say which: all entries are removed, so that the
// access comes as a page fault, and from then on Fault probes pages before it installs them.
func (as *AddressSpace) Revalidate(seen uint64) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.stats.Revalidations++
	// Where mappings change all the time, every so often the change must not pass for the reason.
	moved := as.generation.Load() != seen
	if moved && as.stats.Revalidations%32 != 0 || as.tables.pages == 0 {
		return moved
	}
	as.probing = true
	as.tables.clear(0, usermem.Size)
	as.changed()
	return true
}
