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

// Fault decides on the payload's page fault at gva with the CPU's error code. rsp is its stack pointer. On the vCPU's
// thread, outside the guest.
func (as *AddressSpace) Fault(gva, code, rsp uint64) FaultResult {
	if gva >= usermem.Size {
		return mapErr
	}
	as.mu.Lock()
	as.stats.Faults++
	v := as.vmas.find(gva)
	if v == nil {
		if v = as.growDown(gva); v == nil {
			as.mu.Unlock()
			return mapErr
		}
	}
	need := uint32(protRead)
	switch {
	case code&faultFetch != 0:
		need = protExec
	case code&faultWrite != 0:
		need = protWrite
	}
	if !allows(v.Prot, need) {
		as.mu.Unlock()
		return accErr
	}
	r, w := as.resolve(v, gva, need)
	as.mu.Unlock()
	if w.end-w.start > pageSize {
		as.populateWindow(w)
	}
	return r
}

// allows tells whether x86 page tables for prot grant the access.
func allows(prot, need uint32) bool {
	if need == protRead {
		return prot&protAll != 0
	}
	return prot&need != 0
}

// resolve makes the entry for gva, which v allows. as.mu is held.
func (as *AddressSpace) resolve(v *VMA, gva uint64, need uint32) (FaultResult, window) {
	page := pageDown(gva)
	if e, _ := as.tables.entry(page); e != 0 {
		return as.spuriousFault(page), window{}
	}
	if as.probing || page >= v.extent() || v.hostBacked() {
		if r := as.probe(v, page, need); !r.Resolved() {
			return r, window{}
		}
	}
	start, end, w := as.choose(v, page, need)
	if as.install(v, start, end) != nil && as.install(v, page, page+pageSize) != nil {
		return FaultResult{unix.SIGBUS, BusObjErr}, window{}
	}
	as.stats.Installs++
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
func (as *AddressSpace) probe(v *VMA, page uint64, need uint32) FaultResult {
	advice := uint64(unix.MADV_POPULATE_READ)
	if need == protWrite {
		advice = unix.MADV_POPULATE_WRITE
	}
	as.stats.Probes++
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
	if as.generation.Load() != seen && as.stats.Revalidations%32 != 0 {
		return true
	}
	if as.tables.pages == 0 {
		return false
	}
	as.probing = true
	if as.tables.clear(0, usermem.Size) != nil {
		return false
	}
	as.changed()
	return true
}
