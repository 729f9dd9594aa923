package usermem

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if err := hostcall.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	base  = 0x5000_0000 // payload address of the memory that the tests map: three pages, then nothing
	pages = 3
	end   = base + pages*pageSize
	zero  = 1<<64 - Window // what would be host address 0
)

// mapped maps the tests' memory and returns it as the host sees it.
func mapped(t testing.TB) []byte { return mapAt(t, base, pages) }

func mapAt(t testing.TB, gva uint64, n int) []byte {
	t.Helper()
	addr, ok := Host(gva, uint64(n*pageSize))
	if !ok {
		t.Fatalf("%#x is not a payload address", gva)
	}
	mem, err := unix.MmapPtr(-1, 0, pointer(addr), uintptr(n*pageSize), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.MunmapPtr(mem, uintptr(n*pageSize)) })
	return bytesAt(mem, n*pageSize)
}

func TestHost(t *testing.T) {
	for _, c := range []struct {
		gva, n uint64
		want   uintptr
		ok     bool
	}{
		{0, 0, Window, true},
		{0, Size, Window, true},
		{Size - 1, 1, Window + Size - 1, true},
		{Size, 0, Window + Size, true},
		{Size, 1, 0, false},
		{Size - 1, 2, 0, false},
		{Size + 1, 0, 0, false},
		{1, Size, 0, false},
		{^uint64(0), 1, 0, false},
		{^uint64(0), 2, 0, false},
		{1, ^uint64(0), 0, false},
		{0, 1 << 63, 0, false},
		{zero, 8, 0, false},
		{zero + 0xc000000000, 8, 0, false},
	} {
		if addr, ok := Host(c.gva, c.n); addr != c.want || ok != c.ok {
			t.Errorf("Host(%#x, %#x) = %#x, %v; want %#x, %v", c.gva, c.n, addr, ok, c.want, c.ok)
		}
	}
}

// outside are addresses that no payload can have, or has not.
var outside = []uint64{Size, Size - 1, end, ^uint64(0), ^uint64(7), zero, 1 << 63, 0}

func TestCopies(t *testing.T) {
	mem := mapped(t)
	src := []byte("some bytes that go out and come in again")
	if e := CopyOut(end-uint64(len(src)), src); e != 0 || !bytes.HasSuffix(mem, src) {
		t.Errorf("out: %v", e)
	}
	dst := make([]byte, len(src))
	if e := CopyIn(dst, end-uint64(len(src))); e != 0 || !bytes.Equal(dst, src) {
		t.Errorf("in: %v, %q", e, dst)
	}
	for _, gva := range append(outside, end-1, base-1) {
		if e := CopyIn(dst, gva); e != unix.EFAULT {
			t.Errorf("in from %#x: %v", gva, e)
		}
		if e := CopyOut(gva, src); e != unix.EFAULT {
			t.Errorf("out to %#x: %v", gva, e)
		}
	}
	if n := CopyInSome(dst, end-7); n != 7 || !bytes.Equal(dst[:7], src[len(src)-7:]) && !bytes.Equal(dst[:7], mem[len(mem)-7:]) {
		t.Errorf("in: %d bytes, %q", n, dst)
	}
	if n := CopyOutSome(end-3, src); n != 3 || string(mem[len(mem)-3:]) != "som" {
		t.Errorf("out: %d bytes", n)
	}
	for _, gva := range outside {
		if CopyInSome(dst, gva) != 0 || CopyOutSome(gva, src) != 0 {
			t.Errorf("bytes at %#x", gva)
		}
	}
	if CopyIn(nil, base) != 0 || CopyOut(Size, nil) != 0 {
		t.Error("nothing to copy")
	}
}

// The last page of the payload's address space, and what is beyond it on the host.
func TestTopOfAddressSpace(t *testing.T) {
	mapAt(t, Size-pageSize, 1)
	beyond, err := unix.MmapPtr(-1, 0, pointer(Window+Size), pageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		t.Skip("the host has something there")
	}
	defer unix.MunmapPtr(beyond, pageSize)
	buf := make([]byte, 32)
	if e := CopyOut(Size-16, buf); e != unix.EFAULT {
		t.Errorf("out: %v", e)
	}
	if n := CopyOutSome(Size-16, buf); n != 16 {
		t.Errorf("out: %d bytes", n)
	}
	if n := CopyInSome(buf, Size-16); n != 16 {
		t.Errorf("in: %d bytes", n)
	}
	if _, e := ReadUint64(Size - 4); e != unix.EFAULT {
		t.Errorf("word: %v", e)
	}
	if e := WriteUint32(Size-2, 1); e != unix.EFAULT {
		t.Errorf("word: %v", e)
	}
	if _, e := ReadString(Size-16, 100); e != 0 { // zeroes
		t.Errorf("string: %v", e)
	}
	copy(buf, bytes.Repeat([]byte{'x'}, 16))
	CopyOut(Size-16, buf[:16])
	if _, e := ReadString(Size-16, 100); e != unix.EFAULT {
		t.Errorf("string: %v", e)
	}
}

func TestReadString(t *testing.T) {
	mem := mapped(t)
	for _, length := range []int{0, 1, 7, 255, 256, 257, 1000, 4095, 4096, 5000} {
		want := strings.Repeat("0123456789", length/10+1)[:length]
		for _, at := range []uint64{0, 1, 4090, 4095, 4096, uint64(len(mem) - length - 1)} {
			if at+uint64(length) >= uint64(len(mem)) {
				continue
			}
			for i := range mem {
				mem[i] = 'z'
			}
			copy(mem[at:], want)
			mem[at+uint64(length)] = 0
			if got, e := ReadString(base+at, length+1); got != want || e != 0 {
				t.Errorf("%d bytes at %d: %d bytes, %v", length, at, len(got), e)
			}
			if got, e := ReadString(base+at, length); e != unix.ENAMETOOLONG || got != "" {
				t.Errorf("%d bytes at %d, limited to %d: %q, %v", length, at, length, got, e)
			}
			mem[at+uint64(length)] = 'z'
			if _, e := ReadString(base+at, 1<<20); e != unix.EFAULT {
				t.Errorf("up to the edge: %v", e)
			}
			if _, e := ReadString(base+at, len(mem)-int(at)); e != unix.ENAMETOOLONG {
				t.Errorf("limited at the edge: %v", e)
			}
		}
	}
	for _, gva := range outside {
		if _, e := ReadString(gva, 10); e != unix.EFAULT {
			t.Errorf("%#x: %v", gva, e)
		}
	}
	if _, e := ReadString(base, 0); e != unix.ENAMETOOLONG {
		t.Errorf("no room: %v", e)
	}
}

func TestWords(t *testing.T) {
	mapped(t)
	const a, x = base + 64, 0x1122334455667788
	if e := WriteUint64(a, x); e != 0 {
		t.Error(e)
	}
	if v, e := ReadUint64(a); v != x || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if e := WriteUint32(a+4, 5); e != 0 {
		t.Error(e)
	}
	if v, e := ReadUint64(a); v != 5<<32|x&0xffffffff || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if v, e := ReadUint32(a + 2); v != 5<<16|x>>16&0xffff || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if done, e := CompareAndSwapUint32(a+4, 4, 9); done || e != 0 {
		t.Error("swapped", e)
	}
	if done, e := CompareAndSwapUint32(a+4, 5, 9); !done || e != 0 {
		t.Error("not swapped", e)
	}
	if done, e := CompareAndSwapUint64(a, 9<<32|x&0xffffffff, 0xf0); !done || e != 0 {
		t.Error("not swapped", e)
	}
	if v, e := SwapUint32(a, 0xf1); v != 0xf0 || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if v, e := AtomicOrUint32(a, 0x0e); v != 0xf1 || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if v, e := AtomicAndUint32(a, 0x0f); v != 0xff || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
	if v, e := ReadUint32(a); v != 0x0f || e != 0 {
		t.Errorf("%x, %v", v, e)
	}
}

// attempts makes every access to a word and gives the errors.
func attempts(gva uint64) map[string]unix.Errno {
	e := map[string]unix.Errno{}
	_, e["ReadUint32"] = ReadUint32(gva)
	_, e["ReadUint64"] = ReadUint64(gva)
	e["WriteUint32"] = WriteUint32(gva, 1)
	e["WriteUint64"] = WriteUint64(gva, 1)
	_, e["CompareAndSwapUint32"] = CompareAndSwapUint32(gva, 0, 0)
	_, e["CompareAndSwapUint64"] = CompareAndSwapUint64(gva, 0, 0)
	_, e["SwapUint32"] = SwapUint32(gva, 0)
	_, e["AtomicOrUint32"] = AtomicOrUint32(gva, 0)
	_, e["AtomicAndUint32"] = AtomicAndUint32(gva, 0)
	return e
}

func TestBadWords(t *testing.T) {
	mapped(t)
	for _, gva := range []uint64{Size, end, zero, 0, 1 << 63} {
		for name, e := range attempts(gva) {
			if e != unix.EFAULT {
				t.Errorf("%s(%#x): %v", name, gva, e)
			}
		}
	}
	for name, e := range attempts(base + 3) {
		want := unix.Errno(0)
		if !strings.HasPrefix(name, "Read") && !strings.HasPrefix(name, "Write") {
			want = unix.EINVAL
		}
		if e != want {
			t.Errorf("%s, not aligned: %v, want %v", name, e, want)
		}
	}
}

// The atomic operations are.
func TestAtomic(t *testing.T) {
	mapped(t)
	const workers, rounds = 4, 20000
	done := make(chan bool)
	for i := range workers {
		go func() {
			bit := uint32(1) << i
			for range rounds {
				for {
					v, _ := ReadUint64(base)
					if ok, _ := CompareAndSwapUint64(base, v, v+1); ok {
						break
					}
				}
				if old, _ := AtomicOrUint32(base+8, bit); old&bit != 0 {
					t.Error("set by somebody else")
				}
				if old, _ := AtomicAndUint32(base+8, ^bit); old&bit == 0 {
					t.Error("cleared by somebody else")
				}
			}
			done <- true
		}()
	}
	for range workers {
		<-done
	}
	if v, _ := ReadUint64(base); v != workers*rounds {
		t.Errorf("counted %d", v)
	}
	if v, _ := ReadUint32(base + 8); v != 0 {
		t.Errorf("bits left: %x", v)
	}
}

func BenchmarkReadUint64(b *testing.B) {
	mapped(b)
	for b.Loop() {
		ReadUint64(base)
	}
}

func BenchmarkCopyIn(b *testing.B) {
	mapped(b)
	for _, n := range []int{8, 144, 4096} {
		buf := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				CopyIn(buf, base)
			}
		})
	}
}

func BenchmarkReadString(b *testing.B) {
	mem := mapped(b)
	copy(mem, "/usr/lib/x86_64-linux-gnu/libc.so.6\x00")
	for b.Loop() {
		ReadString(base, 4096)
	}
}
