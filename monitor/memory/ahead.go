package memory

import "golang.org/x/sys/unix"

// Populating ahead.
//
// Fresh anonymous memory, private or shared, has no entries. When the payload first touches it, the page fault tells a stream of touches
// (upwards or downwards, each fault at the edge of what was populated last) from scattered ones:
//
//   - A stream's next window is populated on the host in one call and gets its entries with the exit that the fault costs
//     anyway. Its size depends on what the stream has touched so far (see proof.go), so memory populated and not touched is
//     never more than memory touched, but for a first small grant. Whole 2 MiB blocks of it become huge pages (see huge.go).
//   - Scattered touches get the entries of the 2 MiB around them and no memory: later touches there are served by KVM
//     one by one, without an exit.
//
// File mappings get the entries of the 2 MiB around a touch, and the pages of it that are in the page cache anyway.

// Sizes in pages.
const (
	firstWindow   = 16
	minWindow     = 4 // a stream that may not populate so much ends
	maxWindow     = 2048
	grantPool     = 64 // what streams that have not proved themselves may hold unused, all together
	streamSlack   = 16 // a fault so close behind a stream's end still belongs to it
	maxStreams    = 64
	scatterStarts = 3 // streams started in a 2 MiB block before its touches count as scattered
	scatterSlot   = 8 // scattered blocks of a slot before all of it is installed at once
)

// stream is a run of first touches.
type stream struct {
	edge    uint64 // up: first address not populated; down: the lowest populated
	down    bool
	touched uint64 // pages known to be touched
	grant   uint64 // pages of the pool it holds
	used    uint64 // clock

	pending   uint64 // pages populated that are not known to be touched; see proof.go
	unsampled uint64 // of them, those that no sample stands for yet
	samples   []sample
}

// ahead is the state of populating ahead.
type ahead struct {
	streams []stream
	clock   uint64
	draws   uint64
	grants  uint64 // pages of the pool that streams hold, or held when they were forgotten
	touched uint64 // pages that streams are known to have touched and that have not been given back
}

// window is a range to populate when the lock has been released.
type window struct {
	start, end uint64
	advice     uint64 // MADV_POPULATE_READ or _WRITE
	huge       bool   // some of it is advised to become huge pages
	measure    bool   // its cost would be news
	generation uint64
	stream     *stream // that it is populated for. Valid while as.mu is held
}

func (w *window) pages() uint64 { return (w.end - w.start) / pageSize }

func (as *AddressSpace) window(start, end, advice uint64) window {
	return window{start: start, end: end, advice: advice, generation: as.generation.Load()}
}

// choose decides which entries a fault at page in v installs, and what is populated for it.
func (as *AddressSpace) choose(v *VMA, page uint64, need uint32) (start, end uint64, w window) {
	if v.hostBacked() {
		return page, page + pageSize, w
	}
	if !v.fresh() || v.Page != 0 {
		start, end = as.block(v, page)
		if v.Flags&File != 0 && need != protWrite {
			w = as.window(start, end, unix.MADV_POPULATE_READ)
		}
		return start, end, w
	}
	if start, end, ok := as.hugeBlock(v, page); ok {
		return start, end, w
	}
	if need != protWrite || as.cfg.NoAhead || v.Flags&LockOnFault != 0 || hostPresent(page) {
		// A read sees the shared zero page; populating would spend memory on it. Memory that is there is not touched for the
		// first time: it comes from before a fork, or its slot has been taken away meanwhile.
		start, end = as.scatter(v, page)
		return start, end, w
	}
	s := as.ahead.match(page)
	if s == nil {
		s = as.start(v, page)
	} else if as.settle(s); s.allowance() < minWindow {
		as.ahead.drop(s) // too little of what was populated has been touched
		s = nil
	}
	if s == nil {
		start, end = as.scatter(v, page)
		return start, end, w
	}
	as.ahead.clock++
	s.used = as.ahead.clock
	as.ahead.touched++
	s.touched++
	n := min(1+s.allowance(), as.huge.windowLimit())
	start, end = as.streamWindow(s, v, page, n)
	w = as.window(min(start, page), max(end, page+pageSize), unix.MADV_POPULATE_WRITE)
	w.stream = s
	if s.down {
		s.edge = w.start
	} else {
		s.edge = w.end
	}
	as.stats.Ahead += w.pages() - 1
	as.adviseHuge(v, &w)
	return w.start, w.end, w
}

// streamWindow is the range of at most n pages that the stream goes on with: page included, within v, up to the first
// page that has an entry already.
func (as *AddressSpace) streamWindow(s *stream, v *VMA, page, n uint64) (start, end uint64) {
	if s.down {
		start = v.Start
		if page-start >= n*pageSize {
			start = page - (n-1)*pageSize
		}
		for p := page; p > start; p -= pageSize {
			if e, _ := as.tables.entry(p - pageSize); e != 0 {
				return p, page + pageSize
			}
		}
		return start, page + pageSize
	}
	end = v.End
	if end-page > n*pageSize {
		end = page + n*pageSize
		if cut := alignDown(end, largePage); cut > page && n >= largePage/pageSize {
			end = cut
		}
	}
	return page, as.tables.firstPresent(page, end)
}

// match finds the stream that a fault at page continues.
func (a *ahead) match(page uint64) *stream {
	for i := range a.streams {
		s := &a.streams[i]
		near := page - s.edge
		if s.down {
			near = s.edge - pageSize - page
		}
		if near < streamSlack*pageSize {
			return s
		}
	}
	return nil
}

// at gives the stream upwards that has reached edge and has been going on for a while.
func (a *ahead) at(edge uint64) *stream {
	for i := range a.streams {
		if s := &a.streams[i]; s.edge == edge && !s.down && s.touched > 1 {
			return s
		}
	}
	return nil
}

// start begins a stream at page, unless its block has seen too many begin. Once streams have used the pool up without going
// on, a second one in a block is too many, and one downwards: that is a thread's stack, which will not grow far.
func (as *AddressSpace) start(v *VMA, page uint64) *stream {
	a := &as.ahead
	s := stream{edge: page, down: as.startsDown(v, page)}
	if limit := grantPool + a.touched/8; limit > a.grants {
		s.grant = min(firstWindow-1, limit-a.grants)
	}
	if pt, _ := as.tables.walk(page, 1); pt != 0 {
		_, info := as.tables.pool.at(pt)
		if info.starts >= scatterStarts || s.grant == 0 && (info.starts > 0 || s.down) {
			return nil
		}
		info.starts++
	}
	a.grants += s.grant
	if len(a.streams) < maxStreams {
		a.streams = append(a.streams, s)
		return &a.streams[len(a.streams)-1]
	}
	oldest := &a.streams[0]
	for i := range a.streams {
		if a.streams[i].used < oldest.used {
			oldest = &a.streams[i]
		}
	}
	*oldest = s
	return oldest
}

// startsDown guesses a stream's direction: memory touched first at its upper end is a stack.
func (as *AddressSpace) startsDown(v *VMA, page uint64) bool {
	if v.Flags&GrowsDown != 0 {
		return true
	}
	if page == v.Start {
		return false
	}
	if v.End-page <= 4*pageSize {
		return true
	}
	e, _ := as.tables.entry(page + pageSize)
	return e != 0
}

// scatter is what a scattered touch installs: the 2 MiB block around it, or after several in a slot all of the slot.
func (as *AddressSpace) scatter(v *VMA, page uint64) (start, end uint64) {
	if s := as.slots.find(page); s != nil {
		if s.random++; s.random > scatterSlot {
			s.random = scatterSlot
			return max(v.Start, s.gva), min(v.End, s.end())
		}
	}
	return as.block(v, page)
}

// block is the 2 MiB around page within v, as far as v's file is known to reach.
func (as *AddressSpace) block(v *VMA, page uint64) (start, end uint64) {
	start = max(v.Start, alignDown(page, largePage))
	end = min(v.End, alignDown(page, largePage)+largePage)
	if page >= v.extent() {
		return page, page + pageSize
	}
	return start, min(end, v.extent())
}

// release takes note that the pages of [start, end) are given back.
func (a *ahead) release(start, end uint64) {
	a.touched -= min(a.touched, (end-start)/pageSize)
	for i := 0; i < len(a.streams); i++ {
		s := &a.streams[i]
		if s.edge-pageSize >= start && s.edge-pageSize < end {
			a.grants -= s.grant
			s.grant = 0
			a.drop(s)
			i--
		}
	}
}

// drop ends a stream. The grant it holds is lost to the pool: it has been used in vain.
func (a *ahead) drop(s *stream) {
	last := len(a.streams) - 1
	*s = a.streams[last]
	a.streams[last] = stream{}
	a.streams = a.streams[:last]
}

// move takes note that [start, end) has moved to new on.
func (a *ahead) move(start, end, to uint64) {
	for i := range a.streams {
		if s := &a.streams[i]; s.edge-pageSize >= start && s.edge-pageSize < end {
			s.edge += to - start
		}
	}
}

// below gives how far down a stream that goes on at page will populate; page if there is none.
func (a *ahead) below(page uint64) uint64 {
	if s := a.match(page); s != nil && s.down {
		if n := min(max(s.allowance(), 1), maxWindow) * pageSize; n < page {
			return page - n + pageSize
		}
	}
	return page
}
