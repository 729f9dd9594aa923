package memory

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// TestForce writes breakpoints into text that a vCPU has just executed, and checks what a debugger may not touch.
func TestForce(t *testing.T) {
	for _, restricted := range []bool{false, true} { // the host's /proc/self/mem
		testForce(t, restricted)
	}
}

func testForce(t *testing.T, restricted bool) {
	r := newRig(t)
	defer r.close()
	c := r.cpu()
	if restricted {
		null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.as.memFD = null
	}
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Ftruncate(fd, 2*pageSize)
	unix.Pwrite(fd, []byte{ret, ret, ret}, 0)
	for _, kind := range []string{"file", "anonymous"} {
		var a uint64
		if kind == "file" {
			a = r.as.Mmap(0, 2*pageSize, rx, unix.MAP_PRIVATE, uint64(fd), 0)
		} else {
			a = r.as.mustMap(t, 0, 2*pageSize, rw, private)
			r.fill(a, ret, ret, ret)
			r.must(r.as.Mprotect(a, 2*pageSize, rx))
		}
		c.expectProt(kind, a, rx)
		// inc bl ; ret
		if n, err := r.as.ForceWrite(a, []byte{0xfe, 0xc3, ret}); n != 3 || err != nil {
			t.Fatalf("%s: %d %v", kind, n, err)
		}
		if o, regs := c.run("call", kvm.Regs{Rax: a, Rbx: 4}); o != resolved || regs.Rbx != 5 {
			t.Errorf("%s: the new code: %+v rbx %d", kind, o, regs.Rbx)
		}
		c.expectProt(kind, a+2, rx)
		b := make([]byte, 4)
		if n, err := r.as.ForceRead(a, b); n != 4 || err != nil || b[0] != 0xfe {
			t.Errorf("%s: %x %d %v", kind, b, n, err)
		}
		r.must(r.as.Mprotect(a, 2*pageSize, 0))
		if n, err := r.as.ForceRead(a, b); n != 4 || err != nil || b[0] != 0xfe {
			t.Errorf("%s without rights: %x %d %v", kind, b, n, err)
		}
		r.must(r.as.Munmap(a+pageSize, pageSize))
		if n, err := r.as.ForceRead(a+pageSize-2, b); n != 2 || err == nil {
			t.Errorf("%s: across the end: %d %v", kind, n, err)
		}
	}
	var b [3]byte
	unix.Pread(fd, b[:], 0)
	if b != [3]byte{ret, ret, ret} {
		t.Errorf("the file has changed: %x", b)
	}
	s := r.as.Mmap(0, pageSize, unix.PROT_READ, unix.MAP_SHARED, uint64(fd), 0)
	r.must(s)
	if n, err := r.as.ForceWrite(s, []byte{1}); n != 0 || err == nil {
		t.Errorf("a write into a shared read-only mapping: %d %v", n, err)
	}
	if n, err := r.as.ForceWrite(s+pageSize*1000, []byte{1}); n != 0 || err == nil {
		t.Errorf("a write where nothing is mapped: %d %v", n, err)
	}
}

// TestVDSO maps this process's own vDSO and data pages. The payload reads them in place and can't write.
func TestVDSO(t *testing.T) {
	var vvar, code [2]uint64
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		var a, b uint64
		fmt.Sscanf(line, "%x-%x", &a, &b)
		switch {
		case strings.Contains(line, "[vvar"):
			if vvar[0] == 0 {
				vvar[0] = a
			}
			vvar[1] = b
		case strings.Contains(line, "[vdso]"):
			code = [2]uint64{a, b}
		}
	}
	if vvar[1] == 0 || vvar[1] != code[0] {
		t.Skip("no [vvar] before [vdso] on this host")
	}
	r := newRig(t)
	c := r.cpu()
	base, ok := r.as.MapVDSO(vvar[0], vvar[1]-vvar[0], code[0], code[1]-code[0])
	if !ok {
		t.Fatal("MapVDSO")
	}
	for i, want := range []byte("\x7fELF") {
		if b, o := c.load(base + uint64(i)); o != resolved || b != want {
			t.Fatalf("byte %d of the vDSO: %#x %+v", i, b, o)
		}
	}
	data := base - (vvar[1] - vvar[0])
	if _, o := c.load(data + 5); o != resolved {
		t.Errorf("reading the data page: %+v", o)
	}
	for p := data; p < base; p += pageSize { // some are there on some hosts only
		want := busErr
		if v, _ := r.as.Lookup(p); v.readable(p) {
			want = resolved
		}
		if _, o := c.load(p); o != want {
			t.Errorf("reading data page %#x: %+v, want %+v", p, o, want)
		}
	}
	for _, a := range []uint64{data, base} {
		if o := c.store(a, 1); o != accErr {
			t.Errorf("writing at %#x: %+v", a, o)
		}
	}
	text := string(r.as.AppendMaps(nil))
	if !strings.Contains(text, fmt.Sprintf("%x-%x r--p 00000000 00:00 0 ", data, base)) || !strings.Contains(text, "[vvar]\n") || !strings.Contains(text, "[vdso]\n") {
		t.Errorf("maps\n%s", text)
	}
	if e := errno(r.as.Mprotect(data, pageSize, rw)); e != unix.EACCES {
		t.Errorf("mprotect of [vvar]: %v", e)
	}
	// CRIU moves both.
	size := vvar[1] - vvar[0]
	r.must(r.as.Mremap(data, size, size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, 0x1_0000_0000))
	if _, o := c.load(0x1_0000_0000 + 5); o != resolved {
		t.Errorf("[vvar] moved: %+v", o)
	}
	if _, o := c.load(data + 5); o != mapErr {
		t.Errorf("where [vvar] was: %+v", o)
	}
	r.must(r.as.Munmap(0x1_0000_0000, size))
	if _, o := c.load(0x1_0000_0000 + 5); o != mapErr {
		t.Errorf("[vvar] unmapped: %+v", o)
	}
	checkInvariants(t, r.as, nil)
}

// TestShm attaches a System V segment at two addresses.
func TestShm(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 3*pageSize-100, unix.IPC_CREAT|0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	a := r.as.Shmat(uint64(id), 0, 0)
	b := r.as.Shmat(uint64(id), 0x4000_0123, shmRnd|shmRdOnly)
	r.must(a)
	if b != 0x4000_0000 {
		t.Fatalf("%#x %v", b, errno(b))
	}
	if o := c.store(a+2*pageSize, 77); o != resolved {
		t.Fatal(o)
	}
	if v, o := c.load(b + 2*pageSize); v != 77 || o != resolved {
		t.Errorf("%d %+v", v, o)
	}
	if o := c.store(b, 1); o != accErr {
		t.Errorf("SHM_RDONLY: %+v", o)
	}
	for _, x := range []struct {
		id, addr, flags uint64
		want            unix.Errno
	}{
		{uint64(id), 0x4000_0000, 0, unix.EINVAL}, {uint64(id), 0x4000_0001, 0, unix.EINVAL}, {uint64(id), 0, shmRemap, unix.EINVAL},
		{^uint64(0), 0, 0, unix.EINVAL}, {1 << 30, 0, 0, unix.EINVAL},
	} {
		if e := errno(r.as.Shmat(x.id, x.addr, x.flags)); e != x.want {
			t.Errorf("shmat(%d, %#x, %#o): %v, want %v", x.id, x.addr, x.flags, e, x.want)
		}
	}
	checkInvariants(t, r.as, nil)
	r.must(r.as.Munmap(b+pageSize, pageSize)) // shmdt takes the two pieces
	r.must(r.as.Shmdt(b))
	for _, p := range []uint64{b, b + 2*pageSize} {
		if _, o := c.load(p); o != mapErr {
			t.Errorf("after shmdt at %#x: %+v", p, o)
		}
	}
	if e := errno(r.as.Shmdt(b)); e != unix.EINVAL {
		t.Errorf("shmdt again: %v", e)
	}
	if v, _ := c.load(a + 2*pageSize); v != 77 {
		t.Error("the other attachment has changed")
	}
	r.must(r.as.Shmat(uint64(id), a, shmRemap))
	r.must(r.as.Shmdt(a))
	checkInvariants(t, r.as, nil)
}

func every(n, pages uint64) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for p := uint64(0); p < pages; p += n {
			if !yield(p) {
				return
			}
		}
	}
}

// TestAheadMemory: whatever is touched in whatever order, the host holds at most twice what a native process would, and a
// little. On a host that backs everything by huge pages that is whole blocks.
func TestAheadMemory(t *testing.T) {
	const size = 32 * mib
	const pages = size / pageSize
	rnd := rand.New(rand.NewPCG(5, 5))
	for _, c := range []struct {
		name  string
		pages func(yield func(uint64) bool)
	}{
		{"upwards", func(yield func(uint64) bool) {
			for p := uint64(0); p < pages*2/3; p++ {
				if !yield(p) {
					return
				}
			}
		}},
		{"downwards", func(yield func(uint64) bool) {
			for p := uint64(pages - 1); p > pages/2; p-- {
				if !yield(p) {
					return
				}
			}
		}},
		{"scattered", func(yield func(uint64) bool) {
			for range 300 {
				if !yield(rnd.Uint64N(pages)) {
					return
				}
			}
		}},
		{"every 2nd", every(2, pages)},
		{"every 3rd", every(3, pages)},
		{"every 8th", every(8, pages)},
		{"every 16th", every(16, pages)},
		{"every 100th", every(100, pages)},
		{"a dense start, then every 4th", func(yield func(uint64) bool) {
			for p := uint64(0); p < pages; p++ {
				if (p < pages/4 || p%4 == 0) && !yield(p) {
					return
				}
			}
		}},
		{"runs", func(yield func(uint64) bool) {
			for range 40 {
				at := rnd.Uint64N(pages - 60)
				for p := at; p < at+50; p++ {
					if !yield(p) {
						return
					}
				}
			}
		}},
	} {
		r := newRig(t)
		v := r.cpu()
		a := r.as.mustMap(t, 0, size, rw, private)
		touched, blocks := map[uint64]bool{}, map[uint64]bool{}
		for p := range c.pages {
			touched[p] = true
			blocks[(a/pageSize+p)/512] = true
			if o := v.store(a+p*pageSize, 1); o != resolved {
				t.Fatal(o)
			}
			native := len(touched)
			if r.as.thp() == thpAlways {
				native = 512 * len(blocks)
			}
			if held := rss(t, a, size) / pageSize; held > uint64(2*native)+grantPool {
				t.Fatalf("%s: %d pages touched, %d held", c.name, len(touched), held)
			}
		}
		t.Logf("%s: %d pages touched, %d held, %d faults", c.name, len(touched), rss(t, a, size)/pageSize, r.as.Stats().Faults)
		r.close()
	}
}

// TestAheadShared: shared anonymous and System V memory is populated ahead too, a page in eight holds no more than twice as
// much, and a second mapping of what is there finds it there.
func TestAheadShared(t *testing.T) {
	const size = 16 * mib
	const pages = size / pageSize
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	r := newRig(t)
	c := r.cpu()
	for _, m := range []struct {
		name string
		addr uint64
	}{
		{"shared", r.as.mustMap(t, 0, size, rw, shared)},
		{"System V", r.as.Shmat(uint64(id), 0, 0)},
	} {
		r.must(m.addr)
		before := r.as.Stats()
		if o := c.sweep(m.addr, pageSize, pages/2); o != resolved {
			t.Fatal(m.name, o)
		}
		after := r.as.Stats()
		if after.Ahead-before.Ahead < pages/4 || after.Faults-before.Faults > 40 {
			t.Errorf("%s: %d pages ahead, %d faults", m.name, after.Ahead-before.Ahead, after.Faults-before.Faults)
		}
		held := rss(t, m.addr, size) / pageSize
		if o := c.sweep(m.addr+size/2+mib, 8*pageSize, pages/32); o != resolved {
			t.Fatal(m.name, o)
		}
		if more := rss(t, m.addr, size)/pageSize - held; more > 2*pages/32+2*grantPool {
			t.Errorf("%s: %d pages touched, %d more held", m.name, pages/32, more)
		}
		// MREMAP of length 0 makes a second mapping.
		twin := r.as.Mremap(m.addr, 0, size, unix.MREMAP_MAYMOVE, 0)
		r.must(twin)
		before = r.as.Stats()
		if o := c.sweep(twin, pageSize, pages/2); o != resolved {
			t.Fatal(m.name, o)
		}
		if s := r.as.Stats(); s.Ahead != before.Ahead {
			t.Errorf("%s: %d pages of the twin populated ahead", m.name, s.Ahead-before.Ahead)
		}
		if b, o := c.load(m.addr + 5*pageSize); b != 1 || o != resolved {
			t.Errorf("%s: %d %+v", m.name, b, o)
		}
	}
	checkInvariants(t, r.as, nil)
}

// TestDiscardedHuge: memory of a stream that has become huge pages is given back, and touched in one place again it is one
// page.
func TestDiscardedHuge(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	const size = 16 * mib
	a := r.as.mustMap(t, 0, size, rw, private)
	c.sweep(a, pageSize, size/pageSize)
	if s := r.as.Stats(); s.HugeBlocks == 0 {
		t.Skip("this host has no huge pages, or uses them for everything")
	}
	r.must(r.as.Madvise(a, size, unix.MADV_DONTNEED))
	for i := range uint64(4) {
		c.store(a+i*4*mib+mib, 1)
	}
	if held := rss(t, a, size) / pageSize; held > 4+grantPool {
		t.Errorf("%d pages held for 4 touched", held)
	}
}

// TestChaos lets vCPUs write and check their own pages of memory that others map, protect and unmap beside them, with few
// slots, so that some are taken away all the time.
func TestChaos(t *testing.T) {
	for _, slots := range []int{32764, 24} {
		r := newRig(t, func(c *Config) { c.MaxSlots = min(c.MaxSlots, slots) })
		var wg sync.WaitGroup
		for id := range uint64(4) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer runtime.UnlockOSThread()
				r.churn(r.cpu(), id)
			}()
		}
		wg.Wait()
		checkInvariants(t, r.as, nil)
		s := r.as.Stats()
		t.Logf("%+v", s)
		if slots < 100 && s.Evictions == 0 {
			t.Error("no slot was taken away")
		}
		r.close()
	}
}

func (r *rig) churn(c *cpu, id uint64) {
	rnd := rand.New(rand.NewPCG(id, 17))
	base := (id + 1) << 40
	type area struct {
		addr, size uint64
		value      byte
	}
	var areas []area
	for step := range 300 {
		switch n := len(areas); {
		case n < 3 || n < 12 && rnd.IntN(3) == 0:
			x := area{addr: base + rnd.Uint64N(64)<<30, size: (1 + rnd.Uint64N(700)) * pageSize, value: byte(step)}
			if errno(r.as.Mmap(x.addr, x.size, rw, private|unix.MAP_FIXED_NOREPLACE, noFD, 0)) != 0 {
				continue
			}
			areas = append(areas, x)
			if o, _ := c.run("sweep", kvm.Regs{Rax: x.addr, Rbx: uint64(x.value), Rcx: x.size / pageSize, Rdx: pageSize}); o != resolved {
				r.t.Errorf("sweep: %+v", o)
			}
		case rnd.IntN(4) == 0:
			i := rnd.IntN(n)
			r.as.Munmap(areas[i].addr, areas[i].size)
			if _, o := c.load(areas[i].addr); o != mapErr {
				r.t.Errorf("unmapped: %+v", o)
			}
			areas[i] = areas[n-1]
			areas = areas[:n-1]
		case rnd.IntN(4) == 0:
			x := areas[rnd.IntN(n)]
			r.as.Mprotect(x.addr, pageSize, unix.PROT_READ)
			if o := c.store(x.addr, 1); o != accErr {
				r.t.Errorf("read-only: %+v", o)
			}
			r.as.Mprotect(x.addr, pageSize, rw)
		default:
			x := areas[rnd.IntN(n)]
			p := x.addr + rnd.Uint64N(x.size/pageSize)*pageSize
			if b, o := c.load(p); o != resolved || b != x.value {
				r.t.Errorf("area %#x: %d %+v, want %d", p, b, o, x.value)
			}
		}
	}
}

// TestTablePagesReused unmaps and maps so much that table pages serve other addresses than before, under a vCPU that would
// notice stale shadows of them.
func TestTablePagesReused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.NoLargePages = true })
	c := r.cpu()
	for round := range uint64(3) {
		for i := range uint64(maxRetired + 100) {
			a := 1<<40 + (round*3+i)<<21
			r.as.mustMap(t, a, pageSize, rw, private|fixed)
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], i)
			r.fill(a, b[:]...)
			if v, o := c.load(a); o != resolved || v != byte(i) {
				t.Fatalf("round %d, %d: %d %+v", round, i, v, o)
			}
			r.must(r.as.Munmap(a, pageSize))
			if i%50 == 0 {
				if _, o := c.load(a); o != mapErr {
					t.Fatalf("round %d, %d unmapped: %+v", round, i, o)
				}
			}
		}
	}
	s := r.as.Stats()
	if s.Forgets == 0 && s.TablePages > 2*maxRetired {
		t.Errorf("%+v", s)
	}
	t.Logf("%+v", s)
	checkInvariants(t, r.as, nil)
}

// TestSystemCallsSee: what the payload has mapped is there for the host, with its rights.
func TestSystemCallsSee(t *testing.T) {
	as, _ := newSpace(t)
	a := as.mustMap(t, 0, 4*pageSize, rw, private)
	as.Mprotect(a+pageSize, pageSize, unix.PROT_READ)
	as.Mprotect(a+2*pageSize, pageSize, 0)
	for i, want := range []unix.Errno{0, unix.EFAULT, unix.EFAULT, 0} {
		if e := usermem.CopyOut(a+uint64(i)*pageSize, []byte{1}); e != want {
			t.Errorf("page %d: %v, want %v", i, e, want)
		}
	}
	as.Munmap(a, 4*pageSize)
	if e := usermem.CopyOut(a, []byte{1}); e != unix.EFAULT {
		t.Errorf("unmapped: %v", e)
	}
}

// TestRemapAdvised grows and moves memory whose mapping our own advice has split on the host.
func TestRemapAdvised(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	const size = 8 * mib
	check := func(when string, addr, n uint64) {
		t.Helper()
		for p := addr; p < addr+n; p += 256 * pageSize {
			if b, o := c.load(p); b != 1 || o != resolved {
				t.Fatalf("%s: %d %+v at %#x", when, b, o, p)
			}
		}
	}
	a := r.as.mustMap(t, 1<<40, size, rw, private|fixed)
	c.sweep(a, pageSize, size/pageSize)
	if r.as.Stats().HugeBlocks == 0 {
		t.Skip("this host has no huge pages, or uses them for everything")
	}
	if got := r.as.Mremap(a, size, 2*size, 0, 0); got != a {
		t.Fatalf("in place: %#x %v", got, errno(got))
	}
	c.sweep(a+size, pageSize, size/pageSize)
	check("grown in place", a, 2*size)
	// Once advice has been taken back, what is mapped next to it stays a mapping of its own.
	r.must(r.as.Madvise(a+size, size, unix.MADV_DONTNEED))
	r.as.mustMap(t, a+2*size, 2*size, rw, private|fixed)
	c.sweep(a+size, pageSize, 3*size/pageSize)
	if n := len(hostPieces(a, a+4*size)); n < 2 {
		t.Fatalf("the host has %d mapping: nothing is tested", n)
	}
	if v, _ := r.as.Lookup(a); v.Start != a || v.End != a+4*size {
		t.Fatalf("%+v", v)
	}
	d := r.as.Mremap(a, 4*size, 5*size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, 1<<42)
	r.must(d)
	check("pieces moved", d, 4*size)
	checkInvariants(t, r.as, nil)
	c.sweep(d+4*size, pageSize, size/pageSize)
	if got := r.as.Mremap(d, 5*size, 6*size, 0, 0); got != d {
		t.Fatalf("pieces in place: %v", errno(got))
	}
	check("pieces grown", d, 5*size)
	r.must(r.as.Mremap(d, 6*size, 3*size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, 1<<43))
	check("pieces shrunk", 1<<43, 3*size)
	if _, o := c.load(d + 5*size); o != mapErr {
		t.Errorf("where it was: %+v", o)
	}
	checkInvariants(t, r.as, nil)
}
