package memory

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const ret = 0xc3

// access is what a payload does at an address.
type access struct {
	what string
	do   func(c *cpu, addr uint64) outcome
}

var (
	load  = access{"load", func(c *cpu, a uint64) outcome { _, o := c.load(a); return o }}
	store = access{"store", func(c *cpu, a uint64) outcome { return c.store(a, ret) }}
	fetch = access{"call", func(c *cpu, a uint64) outcome { return c.call(a) }}
)

// expect runs load, store and call at addr, which must hold RET, and compares what comes of them.
func (c *cpu) expect(when string, addr uint64, onLoad, onStore, onCall outcome) {
	c.r.t.Helper()
	for i, a := range []access{load, store, fetch} {
		want := []outcome{onLoad, onStore, onCall}[i]
		if got := a.do(c, addr); got != want {
			c.r.t.Errorf("%s: %s at %#x: %+v, want %+v", when, a.what, addr, got, want)
		}
	}
}

func (c *cpu) expectProt(when string, addr uint64, prot uint32) {
	c.r.t.Helper()
	result := func(need uint32) outcome {
		if allows(prot, need) {
			return resolved
		}
		return accErr
	}
	c.expect(when, addr, result(protRead), result(protWrite), result(protExec))
}

func (r *rig) fill(addr uint64, code ...byte) {
	r.t.Helper()
	if e := usermem.CopyOut(addr, code); e != 0 {
		r.t.Fatal(e)
	}
}

func (r *rig) must(result uint64) {
	r.t.Helper()
	if e := errno(result); e != 0 {
		r.t.Fatal(e)
	}
}

var allProts = []uint32{0, unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC, rw, rx, rwx, unix.PROT_WRITE | unix.PROT_EXEC}

// TestExactFaults goes through every change of protection of a page that the guest has in its TLB.
func TestExactFaults(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	a := r.as.mustMap(t, 0, 4*pageSize, rwx, private)
	r.fill(a+pageSize, ret)
	p := a + pageSize
	c.expectProt("rwx", p, rwx)
	for _, from := range allProts {
		for _, to := range allProts {
			for _, prot := range []uint32{from, to} {
				r.must(r.as.Mprotect(p, pageSize, uint64(prot)))
				c.expectProt("mprotect", p, prot)
			}
			checkInvariants(t, r.as, nil)
		}
	}
	r.as.Mprotect(p, pageSize, rwx)
	c.expectProt("again", p, rwx)
	r.as.Munmap(p, pageSize)
	c.expect("munmap", p, mapErr, mapErr, mapErr)
	if b, o := c.load(a); o != resolved || b != 0 {
		t.Errorf("neighbour: %d %+v", b, o)
	}
	checkInvariants(t, r.as, nil)
}

// TestExactFaultsLarge changes the protection of a page within a 2 MiB entry, and of all of it, over huge and small pages
// of the host.
func TestExactFaultsLarge(t *testing.T) {
	for _, huge := range []bool{false, true} {
		r := newRig(t)
		c := r.cpu()
		a := r.as.mustMap(t, 0, 2*largePage, rwx, private)
		if huge {
			r.must(r.as.Madvise(a, 2*largePage, unix.MADV_HUGEPAGE))
		}
		pages := []uint64{a, a + 5*pageSize, a + 6*pageSize, a + largePage - pageSize}
		for _, p := range append(pages, a+largePage) {
			r.fill(p, ret)
		}
		r.must(r.as.Madvise(a, 2*largePage, unix.MADV_POPULATE_WRITE))
		large := func() bool { _, size := r.as.tables.entry(a); return size == largePage }
		for _, whole := range allProts[1:] {
			r.must(r.as.Mprotect(a, largePage, uint64(whole)))
			r.must(r.as.Mprotect(a, largePage, uint64(whole)))
			for _, p := range pages {
				c.expectProt("whole", p, whole)
			}
			for _, part := range allProts {
				r.must(r.as.Mprotect(pages[1], pageSize, uint64(part)))
				for i, p := range pages {
					if i == 1 {
						c.expectProt("part", p, part)
					} else {
						c.expectProt("beside", p, whole)
					}
				}
				r.must(r.as.Mprotect(a, largePage, uint64(whole)))
				c.expectProt("again", pages[1], whole)
			}
			c.expectProt("neighbour", a+largePage, rwx)
			checkInvariants(t, r.as, nil)
			r.must(r.as.Mprotect(a, largePage, 0)) // removes the entries
			r.must(r.as.Mprotect(a, largePage, uint64(whole)))
			c.expectProt("whole again", pages[2], whole)
			if !large() {
				t.Errorf("the block has no 2 MiB entry")
			}
		}
		r.close()
	}
}

// TestStale lets another vCPU use a page without pause while its rights go away: nothing it does may take effect after the
// call has returned.
func TestStale(t *testing.T) {
	r := newRig(t)
	const rounds = 60
	a := r.as.mustMap(t, 0, 4*largePage, rw, private)
	word := a + largePage + 8*pageSize
	var wg sync.WaitGroup
	start, results := make(chan bool), make(chan outcome)
	wg.Add(1)
	go func() {
		defer wg.Done()
		c := r.cpu()
		defer runtime.UnlockOSThread()
		for range start {
			o, _ := c.run("count", kvm.Regs{Rax: word})
			results <- o
		}
	}()
	read := func() uint64 {
		v, e := usermem.ReadUint64(word)
		if e != 0 {
			t.Fatal(e)
		}
		return v
	}
	for i := range rounds {
		start <- true
		for v := read(); read() == v; { // until it is at it
			runtime.Gosched()
		}
		switch i % 4 {
		case 0:
			r.must(r.as.Mprotect(word&^pageMask, pageSize, unix.PROT_READ))
		case 1:
			r.must(r.as.Mprotect(a, 4*largePage, unix.PROT_READ))
		case 2:
			moved := r.as.Mremap(word&^pageMask, pageSize, pageSize, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, a-4*pageSize)
			r.must(moved)
			before, _ := usermem.ReadUint64(moved + word&pageMask)
			if o := <-results; o != mapErr {
				t.Fatalf("round %d: %+v", i, o)
			}
			if after, _ := usermem.ReadUint64(moved + word&pageMask); after != before {
				t.Fatalf("round %d: %d writes after mremap", i, after-before)
			}
			r.must(r.as.Mremap(moved, pageSize, pageSize, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, word&^pageMask))
			continue
		case 3:
			r.as.mustMap(t, word&^pageMask, pageSize, unix.PROT_READ, private|fixed)
			if v := read(); v != 0 {
				t.Fatalf("round %d: %d in a fresh page", i, v)
			}
		}
		before := read()
		if o := <-results; o != accErr {
			t.Fatalf("round %d: %+v", i, o)
		}
		if after := read(); after != before {
			t.Fatalf("round %d: %d writes after the right was taken", i, after-before)
		}
		r.must(r.as.Mprotect(a, 4*largePage, rw))
	}
	close(start)
	wg.Wait()
	checkInvariants(t, r.as, nil)
	t.Logf("%+v", r.as.Stats())
}

// TestFlips takes away and gives back the right to execute, which the host mapping does not show, under a vCPU that executes
// and one that reads there.
func TestFlips(t *testing.T) {
	r := newRig(t)
	const rounds = 200
	a := r.as.mustMap(t, 0, 16*pageSize, rwx, private)
	r.fill(a+pageSize, ret)
	r.fill(a+3*pageSize, ret)
	stopped := make(chan outcome, 4*rounds)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := r.cpu()
			defer runtime.UnlockOSThread()
			// One executes the page that flips; the other one beside it, and reads the one that flips.
			regs := kvm.Regs{Rax: a + pageSize, Rdx: a + pageSize + uint64(i)*2*pageSize}
			for {
				o, _ := c.run("spin", regs)
				stopped <- o
				if o == mapErr {
					return
				}
			}
		}()
	}
	faults := 0
	for range rounds {
		r.must(r.as.Mprotect(a+pageSize, pageSize, rw))
		if o := <-stopped; o != accErr {
			t.Fatalf("%+v", o)
		}
		faults++
		r.must(r.as.Mprotect(a+pageSize, pageSize, rwx))
	}
	r.must(r.as.Munmap(a, 16*pageSize))
	wg.Wait()
	close(stopped)
	for o := range stopped {
		if o != mapErr {
			faults++
		}
	}
	t.Logf("%d faults, %+v", faults, r.as.Stats())
}

// TestContents: what the guest writes is what the host and another mapping of the file read, and the other way round.
func TestContents(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Ftruncate(fd, 4*pageSize)
	s := r.as.Mmap(0, 4*pageSize, rw, unix.MAP_SHARED, uint64(fd), 0)
	p := r.as.Mmap(0, 4*pageSize, rw, unix.MAP_PRIVATE, uint64(fd), 0)
	r.must(s)
	r.must(p)
	c.store(s, 1)
	var b [1]byte
	unix.Pread(fd, b[:], 0)
	if v, o := c.load(p); b[0] != 1 || v != 1 || o != resolved {
		t.Errorf("the file has %d, the private mapping %d %+v", b[0], v, o)
	}
	c.store(p, 2)
	if v, _ := c.load(s); v != 1 {
		t.Errorf("a private write shows in the shared mapping: %d", v)
	}
	unix.Pwrite(fd, []byte{3}, 0)
	v1, _ := c.load(s)
	v2, _ := c.load(p)
	if v1 != 3 || v2 != 2 {
		t.Errorf("after a write to the file: shared %d, private %d", v1, v2)
	}
	q := r.as.Mremap(p, 4*pageSize, 8*pageSize, unix.MREMAP_MAYMOVE, 0)
	r.must(q)
	if v, o := c.load(q); v != 2 || o != resolved {
		t.Errorf("moved: %d %+v", v, o)
	}
	if q != p {
		if _, o := c.load(p); o != mapErr {
			t.Errorf("the old place: %+v", o)
		}
	}
	a := r.as.mustMap(t, 0, 64*pageSize, rw, private)
	c.sweep(a, pageSize, 64)
	r.must(r.as.Madvise(a, 64*pageSize, unix.MADV_DONTNEED))
	if v, o := c.load(a + 5*pageSize); v != 0 || o != resolved {
		t.Errorf("after MADV_DONTNEED: %d %+v", v, o)
	}
	checkInvariants(t, r.as, nil)
}

// TestEOF: pages of a file beyond its end are SIGBUS, come and go with its size, and a truncation under a vCPU is exact.
func TestEOF(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	resize := func(n int64) {
		if err := file.Truncate(n); err != nil {
			t.Fatal(err)
		}
	}
	const size = 3 << 20
	resize(2*pageSize + 1)
	for _, flags := range []uint64{unix.MAP_SHARED, unix.MAP_PRIVATE} {
		resize(2*pageSize + 1)
		a := r.as.Mmap(0, size, rw, flags, uint64(file.Fd()), 0)
		r.must(a)
		expect := func(when string, page uint64, want outcome) {
			t.Helper()
			for _, x := range []access{load, store} {
				if got := x.do(c, a+page*pageSize); got != want {
					t.Errorf("%s: %s of page %d: %+v, want %+v", when, x.what, page, got, want)
				}
			}
		}
		expect("short", 2, resolved)
		expect("short", 3, busErr)
		expect("short", 600, busErr)
		resize(700 * pageSize)
		for _, p := range []uint64{2, 3, 600, 699} {
			expect("longer", p, resolved)
		}
		expect("longer", 700, busErr)
		resize(pageSize)
		expect("shorter", 0, resolved)
		if flags == unix.MAP_SHARED { // Linux keeps private copies neither
			expect("shorter", 1, busErr)
		}
		expect("shorter", 699, busErr)
		resize(700 * pageSize)
		expect("long again", 699, resolved)
		r.must(r.as.Munmap(a, size))
		checkInvariants(t, r.as, nil)
	}
}

// TestStack grows a stack like a program does, up to its limit.
func TestStack(t *testing.T) {
	const limit = 8 << 20
	r := newRig(t)
	c := r.cpu()
	top, e := r.as.MapStack(3000, false)
	if e != 0 {
		t.Fatal(e)
	}
	v, _ := r.as.Lookup(top - 1)
	if v.Name != "[stack]" || v.size() != pageSize+stackExpand {
		t.Fatalf("%+v", v)
	}
	if o := c.store(top-limit+pageSize, 1); o != resolved {
		t.Fatalf("within the limit: %+v", o)
	}
	if o := c.store(top-limit-pageSize, 1); o != mapErr {
		t.Fatalf("beyond the limit: %+v", o)
	}
	if o := c.sweep(top-pageSize, ^uint64(pageMask), limit/pageSize-2); o != resolved {
		t.Fatal(o)
	}
	checkInvariants(t, r.as, nil)
	// A system call may reach further down than the program has.
	other := r.as.mustMap(t, top-64<<20, 4*pageSize, rw, private|fixed|unix.MAP_GROWSDOWN)
	if e := usermem.CopyOut(other-3*pageSize, []byte{9}); e != 0 {
		t.Fatalf("a system call below a stack: %v", e)
	}
	if b, o := c.load(other - 3*pageSize); b != 9 || o != resolved {
		t.Fatalf("what it wrote: %d %+v", b, o)
	}
	// The guard gap.
	r.as.mustMap(t, other-300*pageSize, pageSize, rw, private|fixed)
	if o := c.store(other-20*pageSize, 1); o != resolved {
		t.Errorf("above the gap: %+v", o)
	}
	if o := c.store(other-100*pageSize, 1); o != mapErr {
		t.Errorf("within the gap: %+v", o)
	}
	checkInvariants(t, r.as, nil)
}
