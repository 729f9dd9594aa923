package memory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// TestPlacement maps without an address, with hints, and unmaps at random; where things go relative to the first mapping
// must be where the kernel puts them. All are larger than the gaps that a native process has elsewhere.
func TestPlacement(t *testing.T) {
	needLinux(t, 6, 13) // alignment of large anonymous mappings
	dir := t.TempDir()
	n := startNative(t, dir)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		const unit = 1 << 30
		calls := []call{{placeCall, [6]uint64{0, 8 * unit, 0, private | unix.MAP_NORESERVE}}}
		for range 30 {
			size := unit*(1+r.Uint64N(3)) + pick[uint64](r, 0, 0, pageSize, 5*pageSize, largePage, largePage+pageSize)
			where := pick[uint64](r, 0, 0, 0, 0, r.Uint64N(60)*unit/2, r.Uint64N(60)*unit/2+largePage*3+pageSize)
			switch r.IntN(4) {
			case 0, 1, 2:
				flags := uint64(private | unix.MAP_NORESERVE)
				calls = append(calls, call{placeCall, [6]uint64{where, size, pick[uint64](r, 0, rw, rx), flags}})
			case 3:
				calls = append(calls, call{placeUnmap, [6]uint64{r.Uint64(), where, size}})
			}
		}
		want, _ := n.run(t, calls)
		as, _ := newSpace(t)
		x, err := ours(as, dir)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range calls {
			if got := x.do(c); got != want[i] {
				t.Fatalf("seed %d call %d %x: %#x below the first, natively %#x\n%s", seed, i, c.Args, got, want[i], as.AppendMaps(nil))
			}
		}
		x.close()
		as.Close()
	}
}

// Pseudo system calls of TestPlacement: addresses count downwards from the end of the first mapping, and what is unmapped is a
// part of one of the others.
const (
	placeCall  = 1003
	placeUnmap = 1004
)

func (x *actor) place(c call) uint64 {
	a := c.Args
	if c.Nr == placeUnmap {
		if len(x.placed) < 2 {
			return 0
		}
		p := x.placed[1+a[0]%uint64(len(x.placed)-1)]
		from := pageDown(a[1] % p[1])
		return x.syscall(unix.SYS_MUNMAP, [6]uint64{p[0] + from, min(a[2], p[1]-from)})
	}
	hint := uint64(0)
	if a[0] != 0 {
		hint = x.anchor - a[0]
	}
	at := x.syscall(unix.SYS_MMAP, [6]uint64{hint, a[1], a[2], a[3], noFD, 0})
	if errno(at) != 0 {
		return at
	}
	if x.anchor == 0 {
		x.anchor = at + a[1]
	}
	x.placed = append(x.placed, [2]uint64{at, a[1]})
	return x.anchor - at
}

// TestPlacementKinds: MAP_32BIT, MAP_ABOVE4G, hints in use, low hints, no room.
func TestPlacementKinds(t *testing.T) {
	as, _ := newSpace(t, func(c *Config) { c.MinAddr = 65536 })
	low := as.mustMap(t, 0, pageSize, rw, private|unix.MAP_32BIT)
	if low < 0x40000000 || low >= 0x80000000 {
		t.Errorf("MAP_32BIT: %#x", low)
	}
	if a := as.mustMap(t, 5*pageSize+7, pageSize, rw, private); a != 65536 {
		t.Errorf("a hint below mmap_min_addr: %#x", a)
	}
	if a := as.mustMap(t, low, pageSize, rw, private); a == low {
		t.Errorf("a hint in use was taken")
	}
	if a := as.mustMap(t, usermem.Size-pageSize, 2*pageSize, rw, private); a+2*pageSize > as.MmapBase() {
		t.Errorf("a hint across the end: %#x", a)
	}
	low0 := unix.EPERM
	if hasCapability(capSysRawIO) {
		low0 = 0
	}
	for _, c := range []struct {
		addr, length, flags uint64
		want                unix.Errno
	}{
		{0, pageSize, private | fixed, low0},
		{4096, pageSize, private | unix.MAP_FIXED_NOREPLACE, low0},
		{usermem.Size, pageSize, private | fixed, unix.ENOMEM},
		{1 << 62, pageSize, private | fixed, unix.ENOMEM},
		{usermem.Size - pageSize + 1, pageSize, private | fixed, unix.ENOMEM},
		{1<<30 + 1, pageSize, private | fixed, unix.EINVAL},
		{0, usermem.Size, private | unix.MAP_NORESERVE, unix.ENOMEM},
		{0, usermem.Size + 1, private, unix.ENOMEM},
		{0, 1 << 31, private | unix.MAP_32BIT, unix.ENOMEM},
		{low, pageSize, private | unix.MAP_FIXED_NOREPLACE, unix.EEXIST},
	} {
		if e := errno(as.Mmap(c.addr, c.length, 0, c.flags, noFD, 0)); e != c.want {
			t.Errorf("mmap(%#x, %#x, flags %#x): %v, want %v", c.addr, c.length, c.flags, e, c.want)
		}
	}
	before := as.Stats()
	big := as.mustMap(t, 0, 1<<44, 0, private|unix.MAP_NORESERVE)
	if s := as.Stats(); s.Slots != before.Slots || s.TablePages != before.TablePages {
		t.Errorf("a reservation at %#x has slots: %+v", big, s)
	}
}

// TestLayout: with ASLR off everything is where a debugger expects it, with it on nothing is where it was.
func TestLayout(t *testing.T) {
	as, _ := newSpace(t)
	top, e := as.MapStack(10000, false)
	if e != 0 || top != usermem.Size-pageSize || as.PIEBase() != 0x5555_5555_4000 || as.SetBrk(0x5555_5555_7123) != 0x5555_5555_8000 {
		t.Errorf("stack %#x %v, PIE %#x", top, e, as.PIEBase())
	}
	if room := top - as.MmapBase(); room < 8<<20 || room > maxStackRoom {
		t.Errorf("%#x of room for the stack", room)
	}
	as.Close()
	seen := map[uint64]bool{}
	for range 4 {
		as, _ := newSpace(t, func(c *Config) { c.NoASLR = false })
		top, e := as.MapStack(10000, false)
		brk := as.SetBrk(0x5555_5555_7123)
		for _, a := range []uint64{top, as.MmapBase(), as.PIEBase(), brk} {
			if seen[a] || a%pageSize != 0 || e != 0 {
				t.Errorf("address %#x again, or %v", a, e)
			}
			seen[a] = true
		}
		if brk < 0x5555_5555_8000 || brk > 0x5555_5555_8000+32<<20 || as.MmapBase() > top-128<<20 || top < usermem.Size-16<<30-pageSize {
			t.Errorf("brk %#x, mmap base %#x, stack %#x", brk, as.MmapBase(), top)
		}
		as.Close()
	}
}

// TestMapsFormat compares lines with the host's own for the same files.
func TestMapsFormat(t *testing.T) {
	as, _ := newSpace(t)
	path := filepath.Join(t.TempDir(), "a b\nc")
	if err := os.WriteFile(path, make([]byte, 5*pageSize), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := as.Mmap(0x1234_5000, 2*pageSize, rx, unix.MAP_PRIVATE|fixed, uint64(f.Fd()), 2*pageSize)
	b := as.Mmap(0, pageSize, rw, unix.MAP_SHARED, uint64(f.Fd()), 0)
	as.mustMap(t, 0x1000_0000, pageSize, rw, private|fixed)
	as.mustMap(t, 0x1000_2000, pageSize, rw, shared|fixed)
	os.Remove(path)
	as.SetBrk(0x2000_0000)
	as.Brk(0x2000_0001)
	if errno(a)|errno(b) != 0 {
		t.Fatal(errno(a), errno(b))
	}
	var s unix.Stat_t
	unix.Fstat(int(f.Fd()), &s)
	dev := fmt.Sprintf("%02x:%02x %d", unix.Major(s.Dev), unix.Minor(s.Dev), s.Ino)
	name := strings.ReplaceAll(path, "\n", `\012`) + " (deleted)"
	pad := func(s string) string { return fmt.Sprintf("%-72s ", s) }
	text := string(as.AppendMaps(nil))
	for _, want := range []string{
		"10000000-10001000 rw-p 00000000 00:00 0 \n",
		pad("12345000-12347000 r-xp 00002000 "+dev) + name + "\n",
		pad(fmt.Sprintf("%x-%x rw-s 00000000 %s", b, b+pageSize, dev)) + name + "\n",
		pad("20000000-20001000 rw-p 00000000 00:00 0") + "[heap]\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	host, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(text) { // the kernel writes the same line with other addresses and without x
		_, rest, _ := strings.Cut(line, " ")
		rest = strings.Replace(strings.TrimRight(rest, " \n"), "r-xp", "r--p", 1)
		if fields := strings.Fields(rest); len(fields) > 4 && !strings.Contains(string(host), strings.Join(fields[1:4], " ")) {
			t.Errorf("the host has no mapping like %q", line)
		}
	}
}

// TestExportImport carries a state over to another address space on the same memory, as a fork's child does.
func TestExportImport(t *testing.T) {
	as, _ := newSpace(t)
	as.MapStack(10000, false)
	as.SetBrk(0x2000_0000)
	as.Brk(0x2000_3001)
	a := as.mustMap(t, 0, 16*pageSize, rw, private)
	gone := as.mustMap(t, 0x3000_0000, pageSize, rw, private|fixed)
	as.Madvise(gone, pageSize, unix.MADV_DONTFORK)
	as.Mprotect(a+pageSize, pageSize, rx)
	as.Mseal(a+2*pageSize, pageSize, 0)
	usermem.CopyOut(a, []byte("contents"))
	as.Mlock(a, pageSize)
	raw, err := json.Marshal(as.Export())
	if err != nil {
		t.Fatal(err)
	}
	before := as.AppendMaps(nil)

	f := &fakeSlots{slots: map[uint32]fakeSlot{}}
	child, err := New(Config{Slots: f, FirstSlot: 1, MaxSlots: 100, PhysBase: testPhysBase, PhysBits: testPhysBits, NoASLR: true})
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if e := child.Import(s, nil); e != 0 {
		t.Fatal(e)
	}
	hostUnmap(gone, pageSize) // what fork does of MADV_DONTFORK
	want := bytes.Replace(before, []byte("30000000-30001000 rw-p 00000000 00:00 0 \n"), nil, 1)
	if got := child.AppendMaps(nil); !bytes.Equal(got, want) {
		t.Errorf("maps\n%s\nwant\n%s", got, want)
	}
	big := child.mustMap(t, 0, 64<<20, rw, private)
	for _, p := range []uint64{big, 0x2000_0000, child.StackTop() - pageSize} {
		if r := child.Fault(p, 6, 0); !r.Resolved() {
			t.Errorf("fault at %#x: %+v", p, r)
		}
	}
	if e := errno(child.Munmap(a+2*pageSize, pageSize)); e != unix.EPERM {
		t.Errorf("munmap of sealed memory: %v", e)
	}
	if child.Brk(0) != 0x2000_3001 || child.Brk(0x2000_8000) != 0x2000_8000 {
		t.Errorf("brk %#x", child.Brk(0))
	}
	checkInvariants(t, child, f)
}

// TestInherited: memory that is there already is not populated around a touch; that would copy what fork has left shared.
func TestInherited(t *testing.T) {
	as, _ := newSpace(t)
	const size = 8 << 20
	a := as.mustMap(t, 0, size, rw, private)
	usermem.CopyOut(a+size/2, []byte{1})
	before := rss(t, a, size)
	if r := as.Fault(a+size/2, 6, 0); r != resolved {
		t.Fatal(r)
	}
	if s := as.Stats(); s.Ahead != 0 || rss(t, a, size) != before {
		t.Errorf("%d pages populated, %d bytes present, %d before", s.Ahead, rss(t, a, size), before)
	}
	if e, _ := as.tables.entry(a + size/2 + 7*pageSize); e == 0 {
		t.Error("the block around it has no entries")
	}
}
