package memory

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// rss is how many bytes of [addr, addr+n) are in memory.
func rss(t testing.TB, addr, n uint64) (bytes uint64) {
	t.Helper()
	vec := make([]byte, n/pageSize)
	if err := mincore(addr, n, vec); err != nil {
		t.Fatal(err)
	}
	for _, b := range vec {
		bytes += uint64(b&1) * pageSize
	}
	return bytes
}

// BenchmarkFirstTouch is the cost per page of writing to fresh memory from one end to the other, against KVM's own fault on
// demand: every entry there before, no page of memory.
func BenchmarkFirstTouch(b *testing.B) {
	for _, c := range []struct {
		name   string
		size   uint64
		demand bool
	}{
		{"demand/1MiB", mib, true},
		{"demand/8MiB", 8 * mib, true},
		{"demand/64MiB", 64 * mib, true},
		{"ahead/64KiB", 64 << 10, false},
		{"ahead/256KiB", 256 << 10, false},
		{"ahead/1MiB", mib, false},
		{"ahead/8MiB", 8 * mib, false},
		{"ahead/64MiB", 64 * mib, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, func(cfg *Config) { cfg.NoAhead = c.demand })
			v := r.cpu()
			pages := c.size / pageSize
			best := time.Duration(1 << 62)
			exits := 0
			for b.Loop() {
				a := r.as.mustMap(b, 0, c.size, rw, private)
				if c.demand {
					r.as.mu.Lock()
					r.as.install(r.as.vmas.find(a), a, a+c.size)
					r.as.mu.Unlock()
				}
				exits -= v.exits
				start := time.Now()
				if o := v.sweep(a, pageSize, pages); o != resolved {
					b.Fatal(o)
				}
				best = min(best, time.Since(start))
				exits += v.exits
				r.as.Munmap(a, c.size)
			}
			b.ReportMetric(float64(best.Nanoseconds())/float64(pages), "best-ns/page")
			b.ReportMetric(float64(exits)/float64(b.N), "exits/op")
		})
	}
}

// BenchmarkMapUnmap is the cost of mapping and unmapping 64 KiB without touching them.
func BenchmarkMapUnmap(b *testing.B) {
	r := newRig(b)
	for b.Loop() {
		a := r.as.mustMap(b, 0, 64<<10, rw, private)
		r.as.Munmap(a, 64<<10)
	}
}

// BenchmarkManyVMAs maps, protects and unmaps in an address space of 60,000 VMAs.
func BenchmarkManyVMAs(b *testing.B) {
	as, _ := newSpace(b)
	const n = 60000
	base := as.mustMap(b, 0, n*2*pageSize, unix.PROT_NONE, private)
	for i := range uint64(n / 2) {
		as.Mprotect(base+i*4*pageSize, 2*pageSize, unix.PROT_READ)
	}
	b.Logf("%d VMAs", as.Stats().VMAs)
	for b.Loop() {
		a := as.mustMap(b, 0, 64<<10, rw, private)
		as.Mprotect(base+n*pageSize, pageSize, rw)
		as.Mprotect(base+n*pageSize, pageSize, unix.PROT_READ)
		as.Munmap(a, 64<<10)
	}
}

// BenchmarkFault is the monitor's part of a page fault that installs a block of entries.
func BenchmarkFault(b *testing.B) {
	as, _ := newSpace(b, func(c *Config) { c.NoAhead = true })
	const size = 1 << 30
	a := as.mustMap(b, 0, size, rw, private)
	at := uint64(0)
	for b.Loop() {
		as.Fault(a+at, 6, 0)
		if at += largePage; at == size {
			b.StopTimer()
			as.Munmap(a, size)
			as.mustMap(b, a, size, rw, private|fixed)
			at = 0
			b.StartTimer()
		}
	}
}

// BenchmarkSlot is the cost of a memory slot by its size, in a VM with a vCPU.
func BenchmarkSlot(b *testing.B) {
	for _, size := range []uint64{2 * mib, 16 * mib, 64 * mib, 256 * mib, 1024 * mib} {
		b.Run(sizeName(size), func(b *testing.B) {
			r := newRig(b)
			r.cpu()
			a := r.as.mustMap(b, 0, 2*size, unix.PROT_NONE, private)
			a = alignUp(a, size)
			for b.Loop() {
				if _, err := r.as.slots.add(a, size); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				r.as.slots.drop(func(s *slot) bool { return s.gva == a })
				b.StartTimer()
			}
		})
	}
}
