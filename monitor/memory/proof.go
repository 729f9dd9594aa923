package memory

import "kmdev/monitor/guest"

// Proof of touches.
//
// That a fault comes at the edge of what has been populated does not tell how much of it has been touched, and where a heap
// ends none comes: it is extended first. So of each run of populated pages some, chosen at random, have an entry without the
// accessed bit, which the CPU or KVM sets at the first touch. The share of them that has the bit is the share of the run that
// counts as touched; the rest counts as held in vain.

const (
	// A run is 1/runShare of what the stream has touched, but not less than minRun, and has one sample: KVM stops at a page
	// without the bit when it maps the pages around a fault, so each costs a fault of its own.
	minRun   = 16
	runShare = 64
	// Where a run has 2 MiB entries, one of them is replaced by small ones, which cost as much as the memory of two. So runs
	// are longer there, and their block has more samples.
	longShare   = 3
	longSamples = 8

	maxSamples = 64
)

// sample is a page whose touch shows that so many pages have been touched.
type sample struct{ page, pages uint64 }

// allowance is how many more pages may be populated for the stream: one not known to be touched for two that are, where as
// many would be allowed, but samples err; or at its start what it has been granted.
func (s *stream) allowance() uint64 {
	limit := max(s.touched/2, s.grant)
	return limit - min(limit, s.pending)
}

// await takes note that [start, end), which has entries, has been populated for the stream and is not known to be touched.
func (as *AddressSpace) await(s *stream, start, end uint64) {
	n := (end - start) / pageSize
	s.pending += n
	s.unsampled += n
	samples, run := uint64(1), max(minRun, s.touched/runShare)
	if n >= largePage/pageSize {
		samples, run = longSamples, s.touched/longShare
	}
	if n == 0 || s.unsampled < run && s.allowance() >= minWindow {
		return
	}
	if samples > 1 {
		start = max(start, alignDown(start+as.ahead.random(n)*pageSize, largePage))
		end = min(end, alignDown(start, largePage)+largePage)
		n = (end - start) / pageSize
	}
	for range samples {
		page := start + as.ahead.random(n)*pageSize
		as.tables.change(page, page+pageSize, func(b uint64) uint64 { return b &^ guest.Accessed })
		s.samples = append(s.samples, sample{page, s.unsampled / samples})
	}
	s.unsampled %= samples
	if n := len(s.samples) - maxSamples; n > 0 { // the oldest have been held in vain for long
		s.samples = append(s.samples[:0], s.samples[n:]...)
	}
}

// golden is 2^64 by the golden ratio: the upper halves of its multiples spread evenly.
const golden = 0x9e3779b97f4a7c15

// random gives a number below n, evenly spread from call to call.
func (a *ahead) random(n uint64) uint64 {
	a.draws++
	return a.draws * golden >> 32 * n >> 32
}

// settle credits the stream with what has been touched since.
func (as *AddressSpace) settle(s *stream) {
	left := s.samples[:0]
	for _, p := range s.samples {
		// Without an entry its slot has been taken away, and nobody knows.
		if e, _ := as.tables.entry(p.page); e != 0 && e&guest.Accessed == 0 {
			left = append(left, p)
			continue
		}
		s.pending -= p.pages
		s.touched += p.pages
		as.ahead.touched += p.pages
	}
	s.samples = left
	if s.touched >= s.grant {
		as.ahead.grants -= s.grant
		s.grant = 0
	}
}
