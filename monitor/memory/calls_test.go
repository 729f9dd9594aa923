package memory

import (
	"testing"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

func (as *AddressSpace) expectErrno(t *testing.T, what string, got uint64, want unix.Errno) {
	t.Helper()
	if e := errno(got); e != want {
		t.Errorf("%s: %v, want %v", what, e, want)
	}
}

// TestLimits: RLIMIT_AS, RLIMIT_DATA and the number of VMAs.
func TestLimits(t *testing.T) {
	limits := map[int]uint64{unix.RLIMIT_AS: 1 << 30, unix.RLIMIT_DATA: 512 << 20, unix.RLIMIT_STACK: 8 << 20, unix.RLIMIT_MEMLOCK: 1 << 30}
	as, f := newSpace(t, func(c *Config) {
		c.Limit = func(resource int) uint64 { return limits[resource] }
		c.MaxMaps = 20
	})
	as.SetBrk(0x2000_0000)
	a := as.mustMap(t, 0, 400<<20, rw, private|unix.MAP_NORESERVE)
	as.expectErrno(t, "mmap beyond RLIMIT_DATA", as.Mmap(0, 200<<20, rw, private, noFD, 0), unix.ENOMEM)
	b := as.mustMap(t, 0, 500<<20, unix.PROT_READ, private|unix.MAP_NORESERVE)
	as.expectErrno(t, "mmap beyond RLIMIT_AS", as.Mmap(0, 200<<20, unix.PROT_READ, private, noFD, 0), unix.ENOMEM)
	as.expectErrno(t, "mprotect beyond RLIMIT_DATA", as.Mprotect(b, 200<<20, rw), unix.ENOMEM)
	as.expectErrno(t, "mremap beyond RLIMIT_AS", as.Mremap(b, 500<<20, 700<<20, unix.MREMAP_MAYMOVE, 0), unix.ENOMEM)
	if got := as.Brk(0x2000_0000 + 600<<20); got != 0x2000_0000 {
		t.Errorf("brk beyond RLIMIT_DATA: %#x", got)
	}
	as.mustMap(t, a, 400<<20, unix.PROT_READ, private|fixed|unix.MAP_NORESERVE) // what is replaced does not count
	as.Munmap(a, 400<<20)
	as.Munmap(b, 500<<20)
	if got := as.Brk(0x2000_0000 + 1<<20); got != 0x2000_0000+1<<20 {
		t.Errorf("brk: %#x", got)
	}
	p := as.mustMap(t, 0x1000_0000, 100*pageSize, rw, private|fixed)
	var e unix.Errno
	n := uint64(0)
	for ; n < 40 && e == 0; n += 2 {
		e = errno(as.Mprotect(p+n*pageSize, pageSize, unix.PROT_READ))
	}
	if e != unix.ENOMEM || as.Stats().VMAs > 21 {
		t.Errorf("after %d splits: %v, %d VMAs", n, e, as.Stats().VMAs)
	}
	for a := uint64(1 << 40); errno(as.Mmap(a, pageSize, rw, private|fixed, noFD, 0)) == 0; a += 2 * pageSize {
	}
	for _, x := range []struct {
		what string
		got  uint64
	}{
		{"munmap in the middle", as.Munmap(p+60*pageSize, pageSize)},
		{"mmap", as.Mmap(0, pageSize, 0, private, noFD, 0)},
		{"madvise", as.Madvise(p+60*pageSize, pageSize, unix.MADV_DONTDUMP)},
		{"mremap", as.Mremap(p+60*pageSize, pageSize, pageSize, 3, 0x5000_0000)},
		{"mseal", as.Mseal(p+60*pageSize, pageSize, 0)},
	} {
		as.expectErrno(t, x.what+" at the limit of VMAs", x.got, unix.ENOMEM)
	}
	checkInvariants(t, as, f)
}

// TestSeal: what mseal(2) forbids.
func TestSeal(t *testing.T) {
	as, f := newSpace(t)
	a := as.mustMap(t, 0x1000_0000, 8*pageSize, unix.PROT_READ, private|fixed)
	as.expectErrno(t, "mseal of a hole", as.Mseal(a+4*pageSize, 8*pageSize, 0), unix.ENOMEM)
	as.expectErrno(t, "mseal with flags", as.Mseal(a, pageSize, 1), unix.EINVAL)
	as.expectErrno(t, "mseal of nothing", as.Mseal(a, 0, 0), 0)
	as.expectErrno(t, "mseal", as.Mseal(a+2*pageSize, 2*pageSize, 0), 0)
	for _, x := range []struct {
		what string
		got  uint64
	}{
		{"munmap", as.Munmap(a+pageSize, 2*pageSize)},
		{"mprotect", as.Mprotect(a+3*pageSize, pageSize, rw)},
		{"mmap over it", as.Mmap(a, 8*pageSize, rw, private|fixed, noFD, 0)},
		{"mremap", as.Mremap(a+2*pageSize, pageSize, pageSize, 3, 0x5000_0000)},
		{"mremap onto it", as.Mremap(a, pageSize, pageSize, 3, a+2*pageSize)},
		{"mremap that grows", as.Mremap(a+2*pageSize, 2*pageSize, 4*pageSize, 1, 0)},
		{"MADV_DONTNEED", as.Madvise(a, 8*pageSize, unix.MADV_DONTNEED)},
	} {
		as.expectErrno(t, x.what+" of sealed memory", x.got, unix.EPERM)
	}
	as.expectErrno(t, "munmap beside it", as.Munmap(a, 2*pageSize), 0)
	as.expectErrno(t, "MADV_WILLNEED", as.Madvise(a+2*pageSize, pageSize, unix.MADV_WILLNEED), 0)
	checkInvariants(t, as, f)
}

// TestMlockall locks what there is and what comes, but nothing of the monitor's.
func TestMlockall(t *testing.T) {
	as, f := newSpace(t)
	a := as.mustMap(t, 0, 4*pageSize, rw, private)
	for _, flags := range []uint64{0, unix.MCL_ONFAULT, 8, 1 << 40} {
		as.expectErrno(t, "mlockall", as.Mlockall(flags), unix.EINVAL)
	}
	before := lockedKB(t)
	as.expectErrno(t, "mlockall", as.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE), 0)
	b := as.mustMap(t, 0, 8*pageSize, rw, private)
	as.SetBrk(0x2000_0000)
	as.Brk(0x2000_0000 + 4*pageSize)
	if got := lockedKB(t) - before; got != 16*4 {
		t.Errorf("%d kB locked, want 64", got)
	}
	if n := rss(t, b, 8*pageSize); n != 8*pageSize {
		t.Errorf("%d bytes of locked memory present", n)
	}
	for _, v := range as.VMAs() {
		if v.Flags&Locked == 0 {
			t.Errorf("not locked: %+v", v)
		}
	}
	as.expectErrno(t, "MADV_DONTNEED of locked memory", as.Madvise(a, pageSize, unix.MADV_DONTNEED), unix.EINVAL)
	as.expectErrno(t, "munlockall", as.Munlockall(), 0)
	as.mustMap(t, 0, 8*pageSize, rw, private)
	if got := lockedKB(t); got != before {
		t.Errorf("%d kB locked after munlockall, %d before", got, before)
	}
	checkInvariants(t, as, f)
}

// TestGrowsDownProtect: PROT_GROWSDOWN reaches down to the start of the mapping.
func TestGrowsDownProtect(t *testing.T) {
	as, f := newSpace(t)
	top, e := as.MapStack(pageSize, false)
	if e != 0 {
		t.Fatal(e)
	}
	v, _ := as.Lookup(top - 1)
	as.expectErrno(t, "mprotect", as.Mprotect(top-pageSize, pageSize, rwx|unix.PROT_GROWSDOWN), 0)
	w, _ := as.Lookup(top - 1)
	if w.Start != v.Start || w.Prot != rwx || w.Name != "[stack]" {
		t.Errorf("%+v", w)
	}
	a := as.mustMap(t, 0x1000_0000, pageSize, rw, private|fixed)
	as.expectErrno(t, "mprotect of ordinary memory", as.Mprotect(a, pageSize, rwx|unix.PROT_GROWSDOWN), unix.EINVAL)
	as.expectErrno(t, "mprotect both ways", as.Mprotect(a, pageSize, unix.PROT_GROWSDOWN|unix.PROT_GROWSUP), unix.EINVAL)
	checkInvariants(t, as, f)
}

// TestFlipWithoutMappings takes the right to execute away when the host has no mapping left to split for a flip.
func TestFlipWithoutMappings(t *testing.T) {
	if testing.Short() {
		t.Skip("maps 65,000 pages")
	}
	r := newRig(t, func(c *Config) { c.MaxMaps = 1 << 20 })
	c := r.cpu()
	a := r.as.mustMap(t, 0x2000_0000, 64*pageSize, rwx, private|fixed)
	p := a + 8*pageSize
	r.fill(p, ret)
	c.expectProt("before", p, rwx)
	var e unix.Errno
	for i := uint64(0); e == 0; i++ {
		e = errno(r.as.Mmap(1<<40+i*2*pageSize, pageSize, rw, private|fixed, noFD, 0))
	}
	if e != unix.ENOMEM {
		t.Fatal(e)
	}
	t.Logf("%d VMAs", r.as.Stats().VMAs)
	r.must(r.as.Mprotect(p, pageSize, rw))
	c.expectProt("without mappings to split", p, rw)
	if s := r.as.Stats(); s.Flips == 0 || s.Forgets == 0 {
		t.Errorf("%+v", s)
	}
	c.expectProt("beside", a+9*pageSize, rwx&^unix.PROT_EXEC|unix.PROT_EXEC)
	as := r.as
	as.expectErrno(t, "mprotect that must split", as.Mprotect(p, pageSize, unix.PROT_READ), unix.ENOMEM)
	c.expectProt("after a refusal", p, rw)
	for _, addr := range []uint64{a, p, 1 << 40} {
		if o := c.store(addr, 1); o != resolved {
			t.Errorf("%#x: %+v", addr, o)
		}
	}
}

// TestHuge maps explicit huge pages if the host has any: see Mmap's MAP_HUGETLB.
func TestHuge(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	const size = 2 * largePage
	at := r.as.Mmap(0, size-5, rw, private|unix.MAP_HUGETLB, noFD, 0)
	if e := errno(at); e == unix.ENOMEM {
		t.Skip("the host has no huge pages (vm.nr_hugepages)")
	}
	r.must(at)
	v, _ := r.as.Lookup(at)
	if at%largePage != 0 || v.size() != size {
		t.Errorf("%+v", v)
	}
	if o := c.sweep(at, pageSize, size/pageSize); o != resolved {
		t.Error(o)
	}
	r.as.expectErrno(t, "munmap of a part", r.as.Munmap(at, pageSize), unix.EINVAL)
	r.as.expectErrno(t, "mprotect of a part", r.as.Mprotect(at, pageSize, unix.PROT_READ), unix.EINVAL)
	r.as.expectErrno(t, "mmap at a part", r.as.Mmap(at+pageSize, largePage, rw, private|fixed|unix.MAP_HUGETLB, noFD, 0), unix.EINVAL)
	r.must(r.as.Mprotect(at+largePage, largePage, unix.PROT_READ))
	if o := c.store(at+largePage, 1); o != accErr {
		t.Error(o)
	}
	r.must(r.as.Munmap(at, largePage))
	if _, o := c.load(at); o != mapErr {
		t.Error(o)
	}
	// More than there are: SIGBUS, not a VM that can't go on.
	many := r.as.Mmap(0, 1<<36, rw, private|unix.MAP_HUGETLB|unix.MAP_NORESERVE, noFD, 0)
	r.must(many)
	if o := c.sweep(many, largePage, 1<<36/largePage); o != busErr {
		t.Errorf("beyond the pool: %+v", o)
	}
	checkInvariants(t, r.as, nil)
}

// TestProbed: once KVM_RUN has failed, faults find out on the host what can't be provided.
func TestProbed(t *testing.T) {
	as, _ := newSpace(t)
	a := as.mustMap(t, 0, 4*pageSize, rw, private)
	usermem.CopyOut(a, []byte{1})
	if as.Fault(a, 6, 0) != resolved {
		t.Fatal("fault")
	}
	gen := as.Generation()
	as.Munmap(as.mustMap(t, 0, pageSize, rw, private), pageSize)
	if !as.Revalidate(gen) || as.tables.pages == 0 {
		t.Error("a change meanwhile is reason enough to enter again")
	}
	if !as.Revalidate(as.Generation()) || as.tables.pages != 0 {
		t.Error("without a change all entries go")
	}
	if as.Revalidate(as.Generation()) {
		t.Error("there was nothing left to try")
	}
	if r := as.Fault(a, 6, 0); r != resolved {
		t.Errorf("%+v", r)
	}
	hostUnmap(a+pageSize, pageSize) // as if it could not be provided
	if r := as.Fault(a+pageSize, 6, 0); r == resolved {
		if e, _ := as.tables.entry(a + pageSize); e != 0 {
			as.Revalidate(as.Generation())
			r = as.Fault(a+pageSize, 6, 0)
		}
		if r != busErr {
			t.Errorf("%+v", r)
		}
	}
}

// TestSpurious: a fault that nothing explains is run again a number of times, and then it is a signal.
func TestSpurious(t *testing.T) {
	as, _ := newSpace(t)
	a := as.mustMap(t, 0, pageSize, rw, private)
	n := 0
	for as.Fault(a, 6, 0) == resolved {
		if n++; n > 10*spuriousStop {
			t.Fatal("for ever")
		}
	}
	if n < spuriousTry || as.Stats().Forgets != 1 {
		t.Errorf("%d times, %+v", n, as.Stats())
	}
}

// TestHugeSizes: page sizes that no host has.
func TestHugeSizes(t *testing.T) {
	as, _ := newSpace(t)
	for _, shift := range []uint64{1, 11, 12, 13, 22, 62, 63} {
		as.expectErrno(t, "mmap", as.Mmap(0, largePage, rw, private|unix.MAP_HUGETLB|shift<<hugeShift, noFD, 0), unix.EINVAL)
	}
}
