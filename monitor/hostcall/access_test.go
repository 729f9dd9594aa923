package hostcall

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// edge is memory that ends: n usable bytes before addr, none from there on.
type edge struct {
	name string
	mem  []byte // what comes before
	addr uintptr
}

// edges are the ways for memory to end.
func edges(t testing.TB) []edge {
	unmapped, addr := pages(t, 2)
	list := []edge{{"unmapped", unmapped, addr + 2*pageSize}}

	guarded, addr := pages(t, 3)
	protect(t, addr+2*pageSize, unix.PROT_NONE)
	list = append(list, edge{"PROT_NONE", guarded[:2*pageSize], addr + 2*pageSize})

	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4 * pageSize); err != nil {
		t.Fatal(err)
	}
	file, err := unix.Mmap(int(f.Fd()), 0, 4*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(file) })
	if err := f.Truncate(pageSize + 1); err != nil { // SIGBUS from the third page on
		t.Fatal(err)
	}
	return append(list, edge{"beyond EOF", file[:2*pageSize], address(&file[0]) + 2*pageSize})
}

func protect(t testing.TB, addr uintptr, prot int) {
	t.Helper()
	if e := errno(Raw(unix.SYS_MPROTECT, addr, pageSize, uintptr(prot), 0, 0, 0)); e != 0 {
		t.Fatal(e)
	}
}

func fill(mem []byte) {
	for i := range mem {
		mem[i] = byte(i*7 + i>>8)
	}
}

// lengths exercise each path of copyBytes: bytes, quads, rep movs.
func lengths() (n []int) {
	for i := range 40 {
		n = append(n, i)
	}
	return append(n, 255, 256, 257, 300, 4095, 4096, 4097, 6000)
}

func TestCopyAtEdges(t *testing.T) {
	for _, e := range edges(t) {
		t.Run(e.name, func(t *testing.T) {
			fill(e.mem)
			for _, length := range lengths() {
				for left := 0; left <= length; left += 1 + left/20 { // bytes before the edge
					from := e.mem[len(e.mem)-left:]
					guard := bytes.Repeat([]byte{0xee}, length+16)
					if n := CopyIn(guard[8:8+length], e.addr-uintptr(left)); n != left || !bytes.Equal(guard[8:8+n], from) {
						t.Fatalf("in: %d of %d bytes, want %d", n, length, left)
					}
					for i, c := range guard {
						if (i < 8 || i >= 8+left) && c != 0xee {
							t.Fatalf("in: byte %d of %d written, %d readable", i-8, length, left)
						}
					}
				}
			}
		})
	}
}

func TestCopyOutAtEdges(t *testing.T) {
	for _, e := range edges(t) {
		t.Run(e.name, func(t *testing.T) {
			for _, length := range lengths() {
				src := make([]byte, length)
				fill(src)
				for left := 0; left <= length; left += 1 + left/20 {
					clear(e.mem)
					if n := CopyOut(e.addr-uintptr(left), src); n != left || !bytes.Equal(e.mem[len(e.mem)-left:], src[:left]) {
						t.Fatalf("%d of %d bytes, want %d", n, length, left)
					}
					if before := e.mem[len(e.mem)-left-8 : len(e.mem)-left]; !bytes.Equal(before, make([]byte, 8)) {
						t.Fatalf("%d bytes: wrote before the start", length)
					}
				}
			}
		})
	}
}

func TestCopyReadOnly(t *testing.T) {
	mem, addr := pages(t, 2)
	fill(mem)
	protect(t, addr+pageSize, unix.PROT_READ)
	if n := CopyOut(addr+pageSize-5, make([]byte, 300)); n != 5 {
		t.Errorf("%d bytes, want 5", n)
	}
	got := make([]byte, 300)
	if n := CopyIn(got, addr+pageSize-5); n != 300 || !bytes.Equal(got, mem[pageSize-5:][:300]) {
		t.Errorf("%d bytes, want 300", n)
	}
	if Store32(addr+pageSize, 1) || Store64(addr+pageSize, 1) {
		t.Error("stored")
	}
	if _, ok := Load32(addr + pageSize); !ok {
		t.Error("not loaded")
	}
	if _, ok := CompareAndSwap32(addr+pageSize, 0, 1); ok { // needs a writable page although the values differ
		t.Error("exchanged")
	}
}

// Addresses that no page table can hold fault in another way (a general protection fault, SI_KERNEL).
func TestHopelessAddresses(t *testing.T) {
	for _, addr := range []uintptr{0, 8, 1 << 47, 1 << 63, ^uintptr(0) - 100, 0xffff_8000_0000_0000} {
		var b [300]byte
		for _, n := range []int{1, 9, 300} {
			if got := CopyIn(b[:n], addr); got != 0 {
				t.Errorf("%#x: %d bytes in", addr, got)
			}
			if got := CopyOut(addr, b[:n]); got != 0 {
				t.Errorf("%#x: %d bytes out", addr, got)
			}
		}
		for name, ok := range words(addr) {
			if ok {
				t.Errorf("%#x: %s succeeds", addr, name)
			}
		}
	}
	if CopyIn(nil, 0) != 0 || CopyOut(0, nil) != 0 {
		t.Error("nothing to copy")
	}
}

// words tries every word access and tells which succeed.
func words(addr uintptr) map[string]bool {
	ok := map[string]bool{}
	_, ok["Load32"] = Load32(addr)
	_, ok["Load64"] = Load64(addr)
	ok["Store32"] = Store32(addr, 1)
	ok["Store64"] = Store64(addr, 1)
	_, ok["Swap32"] = Swap32(addr, 1)
	_, ok["Swap64"] = Swap64(addr, 1)
	_, ok["CompareAndSwap32"] = CompareAndSwap32(addr, 1, 1)
	_, ok["CompareAndSwap64"] = CompareAndSwap64(addr, 1, 1)
	return ok
}

func TestWordsAtEdges(t *testing.T) {
	for _, e := range edges(t) {
		for name, ok := range words(e.addr) {
			if ok {
				t.Errorf("%s: %s succeeds", e.name, name)
			}
		}
		for name, ok := range words(e.addr - 8) {
			if !ok {
				t.Errorf("%s: %s fails before the edge", e.name, name)
			}
		}
		if _, ok := Load64(e.addr - 4); ok {
			t.Errorf("%s: half a word", e.name)
		}
	}
}

func TestWordValues(t *testing.T) {
	_, a := pages(t, 1)
	const x, y = 0x1122334455667788, 0x99aabbccddeeff00
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %x, want %x", what, got, want)
		}
	}
	check("store", Store64(a, x), true)
	v64, _ := Load64(a)
	check("load", v64, uint64(x))
	v32, _ := Load32(a + 4)
	check("load", v32, uint32(x>>32))
	check("store", Store32(a, 5), true)
	v64, _ = Load64(a)
	check("load", v64, uint64(x>>32<<32|5))
	v32, _ = Swap32(a, 6)
	check("swap", v32, uint32(5))
	v64, _ = Swap64(a, y)
	check("swap", v64, uint64(x>>32<<32|6))
	v64, _ = CompareAndSwap64(a, x, 1)
	check("exchange refused", v64, uint64(y))
	v64, _ = CompareAndSwap64(a, y, x)
	check("exchange", v64, uint64(y))
	v32, _ = CompareAndSwap32(a, 1, 2)
	check("exchange refused", v32, uint32(x&0xffffffff))
	v32, _ = CompareAndSwap32(a, x&0xffffffff, 2)
	check("exchange", v32, uint32(x&0xffffffff))
	v64, _ = Load64(a)
	check("load", v64, uint64(x>>32<<32|2))
	v64, _ = Load64(a + 3)
	check("load, not aligned", v64, uint64(x>>32<<8))
}

// A bug of the monitor stays one: Go's runtime sees the fault.
func TestOwnFaultPanics(t *testing.T) {
	b := payload(t)
	_, a := pages(t, 1)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, addr := range []uintptr{0, a + pageSize} {
		func() {
			defer func() {
				if r := recover(); r == nil {
					t.Errorf("%#x: no panic", addr)
				}
			}()
			poke(addr, 1)
		}()
	}
	if r := b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != os.Getpid() {
		t.Error(num(r))
	}
}

// Memory that comes and goes while it is copied.
func TestCopyRace(t *testing.T) {
	mem, addr := pages(t, 4)
	fill(mem)
	want := bytes.Clone(mem)
	quit, done := make(chan struct{}), make(chan error)
	for range 3 {
		go func() {
			buf := make([]byte, len(mem))
			for {
				select {
				case <-quit:
					done <- nil
					return
				default:
				}
				if n := CopyIn(buf, addr); n < pageSize || !bytes.Equal(buf[:n], want[:n]) {
					done <- fmt.Errorf("%d bytes, or not the right ones", n)
					return
				}
				Load64(addr + 2*pageSize)
			}
		}()
	}
	for i := range 20000 {
		prot := []uintptr{unix.PROT_NONE, unix.PROT_READ}[i%2]
		Raw(unix.SYS_MPROTECT, addr+pageSize, 3*pageSize, prot, 0, 0, 0)
	}
	close(quit)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
