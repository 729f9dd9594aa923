package live

// RefuseDirect makes memory go through the channel, as where the host forbids more.
func (p *Process) RefuseDirect() {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	p.direct = directRefused
}

// Int3s counts the INT3s that a raw read of the payload's memory shows.
func (p *Process) Int3s(addr uint64, n int) (count int) {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	buf := make([]byte, n)
	for _, b := range buf[:p.vmRead(addr, buf)] {
		if b == int3 {
			count++
		}
	}
	return count
}

// ParseSmaps gives the kB of one figure of each area.
func ParseSmaps(text []byte, figure string) (kb []uint64) {
	for _, a := range parseSmaps(text, 0, 1<<63) {
		for _, f := range a.kb {
			if f.name == figure {
				kb = append(kb, f.kb)
			}
		}
	}
	return kb
}
