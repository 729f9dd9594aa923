package memory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// The differential test: random sequences of system calls are made by a native process on addresses of its own, and on
// an AddressSpace at the same addresses. Results, errors and /proc/PID/maps must be the same.

const nativeArg = "-native-child"

// region is where both work; nothing else is near it.
const (
	region      = 0x2000_0000_0000
	regionPages = 96
	regionSize  = regionPages * pageSize
)

// call is a system call with arguments as the payload makes it, or a touch.
type call struct {
	Nr   uint64
	Args [6]uint64
}

// Pseudo system calls.
const (
	touchRead  = 1000 // of the byte at Args[0]
	touchWrite = 1001
	brkBy      = 1002 // brk(start of the heap + Args[0])
)

// moved stands for any address outside the region in a result.
const moved = 1 << 62

// testFiles are what the file arguments of a call mean: 0 read-write, 1 read-only, 2 write-only, 3 a directory. All but
// the last are of fileBytes bytes.
const fileBytes = 10*pageSize + 100

func openTestFiles(dir string) ([]int, error) {
	path := filepath.Join(dir, "file")
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, bytes.Repeat([]byte{1}, fileBytes), 0o666); err != nil {
			return nil, err
		}
	}
	var fds []int
	for _, o := range []struct {
		path string
		mode int
	}{{path, unix.O_RDWR}, {path, unix.O_RDONLY}, {path, unix.O_WRONLY}, {dir, unix.O_RDONLY}} {
		fd, err := unix.Open(o.path, o.mode, 0)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// actor makes calls, natively or on an address space.
type actor struct {
	fds     []int
	pair    [2]int // datagram sockets: a transfer that fails leaves nothing behind in them
	base    uint64 // host address of payload address 0
	heap    uint64
	syscall func(nr uint64, a [6]uint64) uint64

	anchor uint64 // end of TestPlacement's first mapping
	placed [][2]uint64
}

func newActor(dir string) (*actor, error) {
	fds, err := openTestFiles(dir)
	if err != nil {
		return nil, err
	}
	a := &actor{fds: fds}
	a.pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	return a, err
}

func (x *actor) close() {
	for _, fd := range append(x.fds, x.pair[:]...) {
		unix.Close(fd)
	}
}

func (x *actor) do(c call) uint64 {
	switch c.Nr {
	case touchRead:
		return x.touch(unix.SYS_WRITE, x.pair[1], c.Args[0])
	case touchWrite:
		unix.Write(x.pair[1], []byte{7})
		return x.touch(unix.SYS_READ, x.pair[0], c.Args[0])
	case placeCall, placeUnmap:
		return x.place(c)
	case brkBy:
		return x.syscall(unix.SYS_BRK, [6]uint64{x.heap + c.Args[0]}) - x.heap
	case unix.SYS_MMAP:
		if c.Args[3]&unix.MAP_ANONYMOUS == 0 && c.Args[4] < uint64(len(x.fds)) {
			c.Args[4] = uint64(x.fds[c.Args[4]])
		}
	}
	r := x.syscall(c.Nr, c.Args)
	if c.Nr == unix.SYS_MREMAP && errno(r) == 0 && (r < region || r >= region+regionSize) {
		x.syscall(unix.SYS_MUNMAP, [6]uint64{r, pageUp(c.Args[2])})
		return moved
	}
	return r
}

// touch moves a byte at a payload address through a socket, as a system call of the payload would.
func (x *actor) touch(nr uintptr, fd int, addr uint64) uint64 {
	n, _, e := unix.Syscall(nr, uintptr(fd), uintptr(x.base+addr), 1)
	var b [1]byte
	unix.Recvfrom(x.pair[0], b[:], unix.MSG_DONTWAIT) // what is left of it
	return result(uint64(n), e)
}

// nativeChild reads sequences of calls from standard input, makes them, and answers with the results and its maps.
func nativeChild() {
	// Without randomisation what the Go runtime maps is in one place, above what TestPlacement does.
	const noRandomize = 0x40000 // ADDR_NO_RANDOMIZE
	if p, _, _ := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0); p&noRandomize == 0 {
		unix.Syscall(unix.SYS_PERSONALITY, p|noRandomize, 0, 0)
		panic(unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	// And it shall map nothing more meanwhile.
	runtime.MemProfileRate = 0
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)
	// The entry of package hostcall keeps the window free for an Init, which this process does not call.
	unix.Syscall(unix.SYS_MUNMAP, usermem.Window, usermem.Size, 0)
	x, err := newActor(os.Args[2])
	if err != nil {
		panic(err)
	}
	x.syscall = func(nr uint64, a [6]uint64) uint64 {
		r, _, e := unix.Syscall6(uintptr(nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]))
		return result(uint64(r), e)
	}
	x.heap = x.syscall(unix.SYS_BRK, [6]uint64{})
	for {
		var n uint32
		if binary.Read(os.Stdin, binary.LittleEndian, &n) != nil {
			os.Exit(0)
		}
		calls := make([]call, n)
		binary.Read(os.Stdin, binary.LittleEndian, calls)
		out := &bytes.Buffer{}
		for _, c := range calls {
			binary.Write(out, binary.LittleEndian, x.do(c))
		}
		maps, _ := os.ReadFile("/proc/self/maps")
		binary.Write(out, binary.LittleEndian, uint32(len(maps)))
		out.Write(maps)
		os.Stdout.Write(out.Bytes())
		x.syscall(unix.SYS_MUNMAP, [6]uint64{region, regionSize})
		for _, p := range x.placed {
			x.syscall(unix.SYS_MUNMAP, [6]uint64{p[0], p[1]})
		}
		x.placed, x.anchor = nil, 0
		x.syscall(unix.SYS_MUNLOCKALL, [6]uint64{})
		x.syscall(unix.SYS_BRK, [6]uint64{x.heap})
	}
}

// native is a process that makes calls natively.
type native struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func startNative(t testing.TB, dir string) *native {
	t.Helper()
	n := &native{cmd: exec.Command("/proc/self/exe", nativeArg, dir)}
	n.cmd.Stderr = os.Stderr
	var err error
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if n.out, err = n.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.in.Close()
		n.cmd.Wait()
	})
	return n
}

func (n *native) run(t testing.TB, calls []call) (results []uint64, maps string) {
	t.Helper()
	b := &bytes.Buffer{}
	binary.Write(b, binary.LittleEndian, uint32(len(calls)))
	binary.Write(b, binary.LittleEndian, calls)
	if _, err := n.in.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	results = make([]uint64, len(calls))
	var length uint32
	if err := binary.Read(n.out, binary.LittleEndian, results); err != nil {
		t.Fatal(err)
	}
	binary.Read(n.out, binary.LittleEndian, &length)
	text := make([]byte, length)
	if _, err := io.ReadFull(n.out, text); err != nil {
		t.Fatal(err)
	}
	return results, string(text)
}

// ours makes calls on an address space.
func ours(as *AddressSpace, dir string) (*actor, error) {
	x, err := newActor(dir)
	if err != nil {
		return nil, err
	}
	x.base = usermem.Window
	x.heap = as.SetBrk(0x1000_0000_0000)
	x.syscall = func(nr uint64, a [6]uint64) uint64 { return as.syscall(nr, a) }
	return x, nil
}

// syscall is the mmap family by number.
func (as *AddressSpace) syscall(nr uint64, a [6]uint64) uint64 {
	switch nr {
	case unix.SYS_MMAP:
		return as.Mmap(a[0], a[1], a[2], a[3], a[4], a[5])
	case unix.SYS_MUNMAP:
		return as.Munmap(a[0], a[1])
	case unix.SYS_MPROTECT:
		return as.Mprotect(a[0], a[1], a[2])
	case unix.SYS_MREMAP:
		return as.Mremap(a[0], a[1], a[2], a[3], a[4])
	case unix.SYS_BRK:
		return as.Brk(a[0])
	case unix.SYS_MADVISE:
		return as.Madvise(a[0], a[1], a[2])
	case unix.SYS_MLOCK:
		return as.Mlock(a[0], a[1])
	case unix.SYS_MLOCK2:
		return as.Mlock2(a[0], a[1], a[2])
	case unix.SYS_MUNLOCK:
		return as.Munlock(a[0], a[1])
	case unix.SYS_MLOCKALL:
		return as.Mlockall(a[0])
	case unix.SYS_MUNLOCKALL:
		return as.Munlockall()
	case unix.SYS_MSYNC:
		return as.Msync(a[0], a[1], a[2])
	case unix.SYS_MINCORE:
		return as.Mincore(a[0], a[1], a[2])
	case unix.SYS_REMAP_FILE_PAGES:
		return as.RemapFilePages(a[0], a[1], a[2], a[3], a[4])
	case sysMseal:
		return as.Mseal(a[0], a[1], a[2])
	}
	panic("no such call")
}

const sysMseal = 462

// shape is the lines of a maps file within the region and the heap, neighbours joined that could be one: Linux keeps some
// apart whose pages have different anon_vmas.
func shape(maps string, heap uint64) []string {
	type line struct {
		start, end, off uint64
		rest            string
		file            bool
	}
	var lines []line
	for _, s := range strings.Split(maps, "\n") {
		var l line
		var prot, dev string
		var ino uint64
		if n, _ := fmt.Sscanf(s, "%x-%x %s %x %s %d", &l.start, &l.end, &prot, &l.off, &dev, &ino); n < 6 {
			continue
		}
		if name := strings.TrimSpace(s[min(len(s), 73):]); name == "[heap]" {
			l.start, l.end = l.start-heap, l.end-heap
			l.rest = prot + " [heap]"
		} else if l.start < region || l.start >= region+regionSize {
			continue
		} else {
			if strings.HasPrefix(name, "/dev/zero") {
				ino = 0 // each its own
			}
			l.rest, l.file = fmt.Sprint(prot, " ", dev, " ", ino, " ", name), ino != 0 || name != ""
		}
		if n := len(lines); n > 0 {
			p := &lines[n-1]
			if p.end == l.start && p.rest == l.rest && (!l.file || p.off+p.end-p.start == l.off) {
				p.end = l.end
				continue
			}
		}
		lines = append(lines, l)
	}
	var out []string
	for _, l := range lines {
		out = append(out, fmt.Sprintf("%x-%x %x %s", l.start, l.end, l.off, l.rest))
	}
	return out
}

// pick gives one of the values.
func pick[T any](r *rand.Rand, v ...T) T { return v[r.IntN(len(v))] }

func randomAddr(r *rand.Rand) uint64 {
	a := region + r.Uint64N(regionPages)*pageSize
	if r.IntN(40) == 0 {
		a += r.Uint64N(pageSize)
	}
	return a
}

func randomLen(r *rand.Rand) uint64 {
	switch r.IntN(20) {
	case 0:
		return 0
	case 1:
		return r.Uint64N(8 * pageSize)
	case 2:
		return pick(r, ^uint64(0), ^uint64(0)-pageSize, 1<<47, 1<<63, -region+(1<<64-1)&^pageMask)
	}
	n := (1 + r.Uint64N(16)) * pageSize
	return n
}

func inRegion(a, n uint64) uint64 {
	if n < 1<<40 && a+n > region+regionSize {
		return region + regionSize - min(a, region+regionSize)
	}
	return n
}

func randomProt(r *rand.Rand) uint64 {
	return pick[uint64](r, rw, rw, rw, 0, unix.PROT_READ, unix.PROT_READ, rx, rwx, unix.PROT_WRITE, unix.PROT_EXEC)
}

// randomCall makes up a call. Everything it maps lies within the region.
func randomCall(r *rand.Rand) call {
	a := randomAddr(r)
	n := inRegion(a, randomLen(r))
	k := r.IntN(100)
	if (k >= 32 && k < 50 || k >= 60 && k < 68 || k >= 76 && k < 78) && n >= 1<<40 && a+n > a {
		n = pageSize // these go on behind holes, and the native process has memory of its own there
	}
	switch {
	case k < 22:
		flags := pick[uint64](r, unix.MAP_PRIVATE, unix.MAP_PRIVATE, unix.MAP_SHARED, unix.MAP_SHARED_VALIDATE, 0) |
			pick[uint64](r, unix.MAP_FIXED, unix.MAP_FIXED, unix.MAP_FIXED_NOREPLACE) |
			pick[uint64](r, 0, 0, 0, 0, unix.MAP_NORESERVE, unix.MAP_STACK, unix.MAP_POPULATE, unix.MAP_LOCKED, unix.MAP_DENYWRITE, unix.MAP_GROWSDOWN)
		if r.IntN(3) > 0 {
			return call{unix.SYS_MMAP, [6]uint64{a, n, randomProt(r), flags | unix.MAP_ANONYMOUS, noFD, pick[uint64](r, 0, 0, pageSize)}}
		}
		return call{unix.SYS_MMAP, [6]uint64{a, n, randomProt(r), flags, pick[uint64](r, 0, 0, 0, 1, 1, 2, 3, 4000),
			pick[uint64](r, 0, 0, pageSize, 3*pageSize, 8*pageSize, 100, 1<<63, ^uint64(pageMask))}}
	case k < 32:
		return call{unix.SYS_MUNMAP, [6]uint64{a, n}}
	case k < 50:
		return call{unix.SYS_MPROTECT, [6]uint64{a, n, randomProt(r) | pick[uint64](r, 0, 0, 0, 0, 0, 0, 0, unix.PROT_GROWSUP, 0x10)}}
	case k < 60:
		return randomMremap(r, a, n)
	case k < 68:
		return call{unix.SYS_MADVISE, [6]uint64{a, n, pick[uint64](r, 0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 99, 5000)}}
	case k < 72:
		return call{unix.SYS_MLOCK2, [6]uint64{a, n, pick[uint64](r, 0, 0, 1, 2)}}
	case k < 76:
		return call{unix.SYS_MUNLOCK, [6]uint64{a, n}}
	case k < 78:
		return call{unix.SYS_MSYNC, [6]uint64{a, n, pick[uint64](r, 0, 1, 2, 4, 5, 8)}}
	case k < 80:
		return call{unix.SYS_MINCORE, [6]uint64{a, n, randomAddr(r)}}
	case k < 82:
		return call{unix.SYS_REMAP_FILE_PAGES, [6]uint64{a, n, pick[uint64](r, 0, 0, 0, 1), r.Uint64N(12), 0}}
	case k < 86:
		return call{brkBy, [6]uint64{r.Uint64N(20 * pageSize)}}
	}
	return call{pick[uint64](r, touchRead, touchWrite), [6]uint64{a}}
}

func randomMremap(r *rand.Rand, a, n uint64) call {
	to := randomAddr(r)
	m := n
	if r.IntN(2) == 0 {
		m = randomLen(r)
	}
	flags := pick[uint64](r, 0, unix.MREMAP_MAYMOVE, 3, 3, 3, 3, unix.MREMAP_MAYMOVE|unix.MREMAP_DONTUNMAP|unix.MREMAP_FIXED, unix.MREMAP_FIXED, 8)
	if flags&unix.MREMAP_FIXED == 0 {
		m = inRegion(a, m)
	}
	return call{unix.SYS_MREMAP, [6]uint64{a, n, inRegion(to, m), flags, to}}
}

func (c call) String() string {
	name := map[uint64]string{unix.SYS_MMAP: "mmap", unix.SYS_MUNMAP: "munmap", unix.SYS_MPROTECT: "mprotect", unix.SYS_MREMAP: "mremap",
		unix.SYS_MADVISE: "madvise", unix.SYS_MLOCK2: "mlock2", unix.SYS_MUNLOCK: "munlock", unix.SYS_MSYNC: "msync",
		unix.SYS_MINCORE: "mincore", unix.SYS_REMAP_FILE_PAGES: "remap_file_pages", touchRead: "read at", touchWrite: "write at", brkBy: "brk",
		sysMseal: "mseal"}[c.Nr]
	return fmt.Sprintf("%s%x", name, c.Args)
}

// compare runs the calls on both sides.
func compare(t testing.TB, n *native, dir string, calls []call) {
	t.Helper()
	want, maps := n.run(t, calls)
	f := &fakeSlots{slots: map[uint32]fakeSlot{}}
	as, err := New(Config{Slots: f, FirstSlot: 1, MaxSlots: 1000, PhysBase: testPhysBase, PhysBits: testPhysBits, NoASLR: true})
	if err != nil {
		t.Fatal(err)
	}
	defer as.Close()
	x, err := ours(as, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	rnd := rand.New(rand.NewPCG(1, uint64(len(calls))))
	done := 0
	defer func() {
		if t.Failed() {
			t.Log("after", calls[:done])
		}
	}()
	for i, c := range calls {
		done++
		if got := x.do(c); got != want[i] {
			t.Fatalf("call %d %v: %#x (%v), natively %#x (%v)\n%s", i, c, got, errno(got), want[i], errno(want[i]), as.AppendMaps(nil))
		}
		if a := randomAddr(rnd); as.vmas.find(a) != nil { // elsewhere a stack might grow, which it did not natively
			as.Fault(a, pick[uint64](rnd, 4, 6, 0x14), 0)
		}
		if i%8 == 0 || i == len(calls)-1 {
			checkInvariants(t, as, f)
		}
	}
	ourShape, nativeShape := shape(string(as.AppendMaps(nil)), x.heap), shape(maps, heapOf(maps))
	if !slices.Equal(ourShape, nativeShape) {
		t.Fatalf("maps\n%s\nnatively\n%s", strings.Join(ourShape, "\n"), strings.Join(nativeShape, "\n"))
	}
}

// heapOf is where the heap of a native process starts.
func heapOf(maps string) uint64 {
	for _, s := range strings.Split(maps, "\n") {
		if strings.HasSuffix(s, "[heap]") {
			var start uint64
			fmt.Sscanf(s, "%x-", &start)
			return start
		}
	}
	return 0
}

// needLinux skips a test that compares with what the kernel does since a version.
func needLinux(t *testing.T, major, minor int) {
	t.Helper()
	var u unix.Utsname
	unix.Uname(&u)
	var has [2]int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &has[0], &has[1])
	if has[0] < major || has[0] == major && has[1] < minor {
		t.Skipf("the host's kernel is %d.%d, and the rules are those of %d.%d", has[0], has[1], major, minor)
	}
}

// TestNative compares random sequences. What Linux decides by whether a page has ever been touched is left out: whether VMAs
// are merged (see shape), and with it what PROT_GROWSDOWN reaches.
func TestNative(t *testing.T) {
	needLinux(t, 6, 17) // mremap of several VMAs
	runtime.LockOSThread()
	dir := t.TempDir()
	n := startNative(t, dir)
	rounds := 400
	if testing.Short() {
		rounds = 40
	}
	if n, err := strconv.Atoi(os.Getenv("KMDEV_NATIVE_ROUNDS")); err == nil {
		rounds = n
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		calls := make([]call, 5+r.IntN(60))
		for i := range calls {
			calls[i] = randomCall(r)
		}
		compare(t, n, dir, calls)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
