package memory

// stackGap is Linux's stack_guard_gap: no mapping is placed so close below a VMA that grows down.
const stackGap = 256 * pageSize

// startGap is where the space that belongs to v starts, its guard gap included (vm_start_gap).
func (v *VMA) startGap() uint64 {
	if v.Flags&GrowsDown == 0 {
		return v.Start
	}
	if v.Start < stackGap {
		return 0
	}
	return v.Start - stackGap
}

// fit places length bytes at the top of the gap [lo, hi), aligned.
func fitHigh(lo, hi, length, align uint64) (uint64, bool) {
	if hi <= lo || hi-lo < length {
		return 0, false
	}
	a := alignDown(hi-length, align)
	return a, a >= lo
}

func fitLow(lo, hi, length, align uint64) (uint64, bool) {
	a := alignUp(lo, align)
	return a, a >= lo && a <= hi && hi-a >= length
}

// gapDown finds the highest free range of length bytes within [lo, hi), aligned.
func (l *vmaList) gapDown(lo, hi, length, align uint64) (uint64, bool) {
	p := l.seek(hi)
	top := hi
	if v := l.at(p); v != nil {
		top = min(top, v.startGap())
	}
	for {
		v, vp := l.before(p)
		if v == nil || v.End <= lo {
			return fitHigh(lo, top, length, align)
		}
		if a, ok := fitHigh(v.End, top, length, align); ok {
			return a, true
		}
		// Skip the inside of a leaf without a gap large enough.
		if f := l.leaves[vp.leaf]; vp.i == len(f.v)-1 && f.maxGap() < length {
			vp.i, v = 0, f.v[0]
		}
		p, top = vp, min(hi, v.startGap())
	}
}

// gapUp finds the lowest free range of length bytes within [lo, hi), aligned.
func (l *vmaList) gapUp(lo, hi, length, align uint64) (uint64, bool) {
	p := l.seek(lo)
	base := lo
	for {
		v := l.at(p)
		if v == nil || v.Start >= hi {
			return fitLow(base, hi, length, align)
		}
		if a, ok := fitLow(base, v.startGap(), length, align); ok {
			return a, true
		}
		if f := l.leaves[p.leaf]; p.i == 0 && f.maxGap() < length {
			p.i = len(f.v) - 1
			v = f.v[p.i]
		}
		base = v.End
		p = l.next(p)
	}
}
