package memory

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// populateWindow populates a window unless mappings have changed since it was chosen: then it is left to KVM. Without the
// lock, since it may take long.
func (as *AddressSpace) populateWindow(w window) {
	if w.end-w.start <= pageSize || as.generation.Load() != w.generation {
		return
	}
	if w.advice == unix.MADV_POPULATE_READ {
		populateCached(w.start, w.end)
		return
	}
	if spent := w.populate(); spent != 0 {
		as.mu.Lock()
		as.huge.measured(w, spent)
		as.mu.Unlock()
	}
}

// populate gives what it has cost, in nanoseconds of CPU time, if that is wanted and known, else 0.
func (w *window) populate() (spent uint64) {
	if !w.measure {
		hostAdvise(w.start, w.end-w.start, w.advice)
		return 0
	}
	before := threadTime()
	hostAdvise(w.start, w.end-w.start, w.advice)
	return threadTime() - before
}

// threadTime is the CPU time of the calling thread in nanoseconds. Time in the guest is part of it, so only differences
// within a call of the host mean anything.
func threadTime() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return uint64(t.Nano())
}

// populate is what MAP_POPULATE does: bring all of [start, start+length) in, errors ignored.
func (as *AddressSpace) populate(start, length uint64, write bool) {
	advice := uint64(unix.MADV_POPULATE_READ)
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	hostAdvise(start, length, advice)
}

// maxRuns is how many runs of pages populateCached brings in one by one.
const maxRuns = 16

// populateCached maps what the page cache has of a file mapping's range, of at most eagerFile bytes. It does not wait for
// the file.
func populateCached(start, end uint64) {
	var buf [eagerFile / pageSize]byte
	vec := buf[:min((end-start)/pageSize, uint64(len(buf)))]
	if !resident(start, vec) {
		return
	}
	for runs := 0; runs < maxRuns; runs++ {
		skip := bytes.IndexByte(vec, 1)
		if skip < 0 {
			return
		}
		start, vec = start+uint64(skip)*pageSize, vec[skip:]
		n := bytes.IndexByte(vec, 0)
		if n < 0 {
			n = len(vec)
		}
		hostAdvise(start, uint64(n)*pageSize, unix.MADV_POPULATE_READ)
		start, vec = start+uint64(n)*pageSize, vec[n:]
	}
}

// Sizes in bytes up to which entries are made when memory is mapped instead of when it is touched.
const (
	eagerAnon = 8 * pageSize
	eagerFile = 4 << 20
)

// eagerPages is how many pages of anonymous memory may be populated when they are mapped: enough for a program's start.
const eagerPages = 64

// eager does at mmap time what would cost an exit later. as.mu is held.
func (as *AddressSpace) eager(v *VMA, start, end uint64) {
	if v == nil || v.Prot&protAll == 0 || v.Page != 0 {
		return
	}
	n := end - start
	switch {
	case v.Flags&lockFlags == Locked: // in memory
	case v.Flags&File != 0:
		if end = min(end, v.extent()); end <= start || end-start > eagerFile {
			return
		}
		// A private writable mapping is not copied now: until it is written to, writes to the file show in it. And nothing
		// is read from the file under the lock.
		if v.Flags&Shared == 0 && !as.cfg.NoAhead {
			populateCached(start, end)
		}
	case n > eagerAnon || v.Flags&Shared != 0:
		return
	case v.Prot&protWrite != 0 && as.eagerUsed+n/pageSize <= eagerPages && !as.cfg.NoAhead:
		as.eagerUsed += n / pageSize
		as.populate(start, n, true)
	}
	if as.install(v, start, end) != nil {
		as.disarm(start, end)
	}
}

// carryOn goes on with the stream that has reached start: a heap is extended when what there was has been used up.
func (as *AddressSpace) carryOn(v *VMA, start, end uint64) bool {
	if !v.anonymous() || v.Prot&protWrite == 0 || v.Page != 0 || as.cfg.NoAhead {
		return false
	}
	// The cost of a fault spreads well over so much.
	if end-start >= largePage {
		return false
	}
	s := as.ahead.at(start)
	if s == nil {
		return false
	}
	as.settle(s)
	n := min(s.allowance(), (end-start)/pageSize)
	if n == 0 {
		return false
	}
	w := as.window(start, start+n*pageSize, unix.MADV_POPULATE_WRITE)
	s.edge = w.end
	as.stats.Ahead += n
	as.huge.small(&w)
	if spent := w.populate(); spent != 0 {
		as.huge.measured(w, spent)
	}
	as.armAwaited(v, s, w.start, w.end)
	return true
}

// armAwaited makes the entries of memory populated for a stream that no fault will show to have touched it.
func (as *AddressSpace) armAwaited(v *VMA, s *stream, start, end uint64) {
	if as.install(v, start, end) != nil {
		as.disarm(start, end)
		return
	}
	as.await(s, start, end)
}

// eagerProtect is eager for memory that has got a new protection.
func (as *AddressSpace) eagerProtect(v *VMA, start, end uint64) {
	if v.anonymous() {
		if as.tables.firstPresent(start, end) == end {
			as.carryOn(v, start, end)
		}
		return
	}
	if v.Flags&File != 0 && v.size() <= eagerFile {
		if end := min(v.End, v.extent()); end > v.Start && as.install(v, v.Start, end) != nil {
			as.disarm(v.Start, v.End)
		}
	}
}
