package memory

import (
	"testing"

	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// heap is a heap that grows by brk(2) as malloc extends it.
type heap struct {
	*rig
	c          *cpu
	start, end uint64
	touched    uint64 // pages
}

const heapStep = 33 // pages; glibc's M_TOP_PAD and one

func newHeap(t testing.TB, change ...func(*Config)) *heap {
	r := newRig(t, change...)
	h := &heap{rig: r, c: r.cpu()}
	h.start = r.as.SetBrk(0x1000_0000)
	h.end = h.start
	return h
}

// grow extends the heap by pages, of which the payload then adds 1 to every strideth, all of them 0 before.
func (h *heap) grow(pages, stride uint64) {
	h.t.Helper()
	at := h.end
	h.end += pages * pageSize
	if got := h.as.Brk(h.end); got != h.end {
		h.t.Fatalf("brk(%#x) = %#x", h.end, got)
	}
	if e := usermem.CopyOut(h.end, []byte{1}); e != unix.EFAULT {
		h.t.Fatalf("a write behind the heap: %v", e)
	}
	n := (pages + stride - 1) / stride
	touch := kvm.Regs{Rax: at, Rbx: 1, Rcx: n, Rdx: stride * pageSize}
	if o, _ := h.c.run("bump", touch); o != resolved {
		h.t.Fatalf("writing at %#x: %+v", at, o)
	}
	touch.Rbx = 0
	if o, regs := h.c.run("sum", touch); o != resolved || byte(regs.Rbx) != byte(n) {
		h.t.Fatalf("%d fresh pages at %#x: %+v, sum %d", n, at, o, byte(regs.Rbx))
	}
	h.touched += n
}

func (h *heap) held() uint64 { return rss(h.t, h.start, h.end-h.start)/pageSize + h.as.nursery.held() }

// TestHeapGrows: a heap that grows in small steps gets its memory from huge pages, without a fault a step, and ends
// where it ends for the payload and for the host.
func TestHeapGrows(t *testing.T) {
	h := newHeap(t)
	const steps = 400
	for range steps {
		h.grow(heapStep, 1)
		if o := h.c.store(h.end, 1); o != mapErr {
			t.Fatalf("a write behind the heap: %+v", o)
		}
		if held := h.held(); held > 2*h.touched+grantPool {
			t.Fatalf("%d pages touched, %d held", h.touched, held)
		}
	}
	checkInvariants(t, h.as, nil)
	s := h.as.Stats()
	t.Logf("%+v", s)
	if behind := uint64(steps); s.Faults > behind+steps/10 {
		t.Errorf("%d faults in %d steps, %d of them behind the heap", s.Faults, steps, behind)
	}
	if s.HugeBlocks == 0 && h.as.thp() != thpNever {
		t.Error("no block of the heap is a huge page")
	}
	if v, _ := h.as.Lookup(h.start); v.End != h.end {
		t.Errorf("the heap is in pieces: %+v", v)
	}
	if n := len(hostPieces(h.start, h.end)); n > 8 {
		t.Errorf("the host has %d mappings for the heap", n)
	}
}

// TestHeapShrinks: what was given back is 0 when the heap grows again, wherever in a block it ends, and parts of a block
// from the nursery can be treated like any memory.
func TestHeapShrinks(t *testing.T) {
	h := newHeap(t)
	for h.end < h.start+4*largePage {
		h.grow(heapStep, 1)
	}
	for i := range uint64(40) {
		h.end -= (i*7%20 + 1) * pageSize
		if got := h.as.Brk(h.end - 5); got != h.end-5 {
			t.Fatalf("brk down: %#x", got)
		}
		if o := h.c.store(h.end, 1); o != mapErr {
			t.Fatalf("behind the shrunk heap: %+v", o)
		}
		h.grow(i*5%30+1, 1)
		h.grow(heapStep, 1)
	}
	checkInvariants(t, h.as, nil)
	if h.as.Stats().HugeBlocks == 0 {
		return
	}
	at := alignDown(h.end, largePage) - largePage/2
	h.must(h.as.Mprotect(at, pageSize, unix.PROT_READ))
	h.c.expectProt("a page of the heap", at, unix.PROT_READ)
	h.c.expectProt("its neighbour", at+pageSize, rw)
	h.must(h.as.Madvise(at+pageSize, pageSize, unix.MADV_DONTNEED))
	if b, o := h.c.load(at + pageSize); b != 0 || o != resolved {
		t.Errorf("a discarded page holds %d %+v", b, o)
	}
	to := h.as.Mremap(at+2*pageSize, pageSize, pageSize, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, 1<<42)
	h.must(to)
	if b, o := h.c.load(to); b != 1 || o != resolved {
		t.Errorf("a moved page holds %d %+v", b, o)
	}
	checkInvariants(t, h.as, nil)
}

// TestHeapSparse: a heap that has been used up for a while, and of which then a page in many is touched, holds no more than
// twice what native would.
func TestHeapSparse(t *testing.T) {
	for _, stride := range []uint64{2, 3, 8, 16, heapStep} {
		h := newHeap(t)
		for range 80 {
			h.grow(heapStep, 1)
		}
		for i := range 1500 {
			h.grow(heapStep, stride)
			if held := h.held(); held > 2*h.touched+grantPool {
				t.Fatalf("every %dth page: after %d steps %d pages touched, %d held (%d thought touched)", stride, i, h.touched, held, h.as.ahead.touched)
			}
		}
		t.Logf("every %dth page: %d touched, %d held, %d faults", stride, h.touched, h.held(), h.as.Stats().Faults)
		checkInvariants(t, h.as, nil)
		h.close()
	}
}

// TestHeapWithoutHuge: the host's setting and the payload's are heeded.
func TestHeapWithoutHuge(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(h *heap)
	}{
		{"never", func(h *heap) { h.as.thpSetting = thpNever }},
		{"PR_SET_THP_DISABLE", func(h *heap) {
			if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0) })
		}},
		{"MADV_NOHUGEPAGE", func(h *heap) { h.must(h.as.Madvise(h.start, h.end-h.start, unix.MADV_NOHUGEPAGE)) }},
		{"mlockall", func(h *heap) { h.as.future = Locked | LockOnFault }},
	} {
		h := newHeap(t)
		h.grow(1, 1)
		c.set(h)
		for i := range 60 {
			if c.name == "MADV_NOHUGEPAGE" && i%8 == 0 { // what brk adds is not advised
				c.set(h)
			}
			h.grow(heapStep, 1)
		}
		checkInvariants(t, h.as, nil)
		if s := h.as.Stats(); s.HugeBlocks > 0 && c.name != "MADV_NOHUGEPAGE" || h.as.nursery.held() > 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
		h.close()
	}
}

// TestHugeChoice: a block that was too dear is followed by small pages for as long as they take to cost twice as
// much, longer each time, and by huge ones again when they have become cheap.
func TestHugeChoice(t *testing.T) {
	var c hugeChoice
	pages := func(n uint64) window { return window{end: n * pageSize} }
	block := window{end: largePage, huge: true}
	small := func(ns uint64) {
		w := pages(64)
		c.small(&w)
		c.measured(w, 64*ns)
	}
	small(1000)
	c.measured(block, 512*200)
	if c.pause != 0 || c.windowLimit() != maxWindow {
		t.Fatalf("cheap: %+v", c)
	}
	var last uint64
	for i := range 12 {
		c.measured(block, 512*10000)
		if c.pause < 20*512 || c.pause < min(2*last, maxPause) || c.pause > maxPause {
			t.Fatalf("dear %d times: %+v after %d", i+1, c, last)
		}
		if c.windowLimit() != largePage/pageSize {
			t.Fatalf("windows while paused: %+v", c)
		}
		last = c.pause
		for c.pause > 0 {
			small(1000)
		}
	}
	c.measured(block, 512*300)
	if c.pause != 0 || c.dear != 0 {
		t.Fatalf("cheap again: %+v", c)
	}
	c.measured(block, 512*3000)
	if c.pause < 6*512 || c.pause > 6*512 {
		t.Fatalf("dear by little: %+v", c)
	}
}
