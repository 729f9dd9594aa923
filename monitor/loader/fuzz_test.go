package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// planner is a Memory that maps nothing and checks every request.
type planner struct {
	t     testing.TB
	calls int
}

func (p *planner) check(addr, length uint64) {
	p.calls++
	if addr%pageSize != 0 || length%pageSize != 0 || length == 0 || addr >= taskSize || length > taskSize-addr {
		p.t.Errorf("mapping %#x+%#x is outside the address space or not page-aligned", addr, length)
	}
}

func (p *planner) MapFile(addr, length uint64, _ int, _ int, off int64, _ bool) (uint64, unix.Errno) {
	p.check(addr, length)
	if off < 0 || off%pageSize != 0 {
		p.t.Errorf("file offset %#x", off)
	}
	return addr, 0
}

func (p *planner) MapAnon(addr, length uint64, _ int, _ bool) (uint64, unix.Errno) {
	p.check(addr, length)
	return addr, 0
}

func (p *planner) choose(from, size, align uint64) uint64 {
	if align&(align-1) != 0 || align < pageSize {
		p.t.Errorf("alignment %#x", align)
	}
	at := (from + align - 1) &^ (align - 1)
	if at >= taskSize || size > taskSize-at {
		return 0
	}
	return at
}

func (p *planner) ChoosePIEBase(size, align uint64) uint64 { return p.choose(testPIEBase, size, align) }
func (p *planner) ChooseInterp(size, align uint64) uint64  { return p.choose(1<<32, size, align) }

func (p *planner) MapStack(size uint64, _ bool) (uint64, unix.Errno) {
	if size > MaxStackImage {
		p.t.Errorf("a stack of %#x bytes", size)
	}
	return testStackTop, 0
}

func (p *planner) SetBrk(end uint64) uint64 {
	if end > taskSize {
		p.t.Errorf("heap at %#x", end)
	}
	return end
}

func (p *planner) MapVDSO() (uint64, bool) { return 0, false }

func (p *planner) CopyOut(addr uint64, src []byte) unix.Errno {
	if addr >= taskSize || uint64(len(src)) > taskSize-addr {
		p.t.Errorf("write to %#x+%#x", addr, len(src))
	}
	return 0
}

// openFile runs Open and Map on the bytes of a file. Every result is a sound *Error or a plan inside the address space.
func openFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := Open(path, []string{"x"}, []string{"A=1"}, Options{StackLimit: 8 << 20})
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Errno == 0 || e.Reason == "" || e.ExitCode < ExitCannotRun {
			t.Fatalf("bad error: %#v", err)
		}
		if strings.ContainsFunc(e.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("the reason is no clean line: %q", e.Reason)
		}
		return
	}
	defer p.Close()
	s, err := p.Map(&planner{t: t})
	if err != nil {
		return
	}
	if s.StackPointer%16 != 0 || s.StackPointer >= s.StackTop || s.StackTop-s.StackPointer > MaxStackImage {
		t.Errorf("stack pointer %#x", s.StackPointer)
	}
}

// fuzzPath is one file for all inputs of a worker.
func fuzzPath(f *testing.F) string { return filepath.Join(f.TempDir(), "f") }

// seedHeads are the first bytes of small programs: short, so that mutations hit something.
func seedHeads() (heads [][]byte) {
	heads = append(heads, tinyELF().bytes()[:ehdrSize+phdrSize])
	for _, interp := range []string{"/lib64/ld-linux-x86-64.so.2", "/nowhere", "/bin/true", "/etc/passwd"} {
		for _, typ := range []uint16{etExec, etDyn} {
			e := tinyELF()
			e.typ = typ
			e.load(0x403000, 0, 0x1000, 0x5000, pfR|pfW)
			e.interp(interp + "\x00")
			e.phdrs[2].off = 0x100
			e.put(0x100, []byte(interp+"\x00"))
			heads = append(heads, e.bytes()[:0x140])
		}
	}
	return heads
}

// FuzzOpen loads hostile ELF files of size bytes that begin with head.
func FuzzOpen(f *testing.F) {
	for _, head := range seedHeads() {
		f.Add(head, uint16(3*pageSize))
	}
	path := fuzzPath(f)
	f.Fuzz(func(t *testing.T, head []byte, size uint16) {
		openFile(t, path, resize(head, int(size)))
	})
}

func resize(head []byte, size int) []byte {
	b := make([]byte, size)
	copy(b, head)
	return b
}

// FuzzVerdict has the kernel load the same files. Errnos must be equal; only what the kernel finds after the point of no
// return may differ, since it is the payload's address space that counts, and some files are refused early.
func FuzzVerdict(f *testing.F) {
	for _, head := range seedHeads() {
		f.Add(head, uint16(3*pageSize))
	}
	dir := f.TempDir()
	n := 0
	f.Fuzz(func(t *testing.T, head []byte, size uint16) {
		if isScript(head) {
			t.Skip("FuzzScript's")
		}
		n++
		path := writeFile(t, filepath.Join(dir, fmt.Sprint(n)), resize(head, int(size)), 0o755)
		defer os.Remove(path)
		argv := []string{"x"}
		ours := verdictOf(t, path, argv, nil)
		theirs := execNative(t, path, argv, nil, nil)
		if ours.fatal {
			ours.errno = 0
		}
		if ours.errno != theirs.errno {
			t.Errorf("ours %v, kernel %v", ours, theirs)
		}
	})
}

// FuzzPhdr loads a small program with one arbitrary PT_LOAD: what FuzzOpen's mutations reach only after long.
func FuzzPhdr(f *testing.F) {
	for _, v := range []uint64{0, 1, pageSize - 1, pageSize, 0x400000, taskSize - pageSize, taskSize, 1 << 63, 1<<64 - 1} {
		f.Add(v, uint64(0), uint64(0x80), uint64(0x1080), uint64(pageSize), uint64(0x401000), uint32(7), true)
		f.Add(uint64(0x600000), v, uint64(0x80), uint64(0x1080), uint64(pageSize), uint64(0x401000), uint32(7), false)
		f.Add(uint64(0x600000), uint64(0), v, uint64(0x1080), uint64(1<<21), uint64(0x401000), uint32(7), true)
		f.Add(uint64(0x600000), uint64(0), uint64(0), v, uint64(pageSize), uint64(0x401000), uint32(7), false)
		f.Add(uint64(0x600000), uint64(0), uint64(0), uint64(1), v, uint64(0x401000), uint32(6), true)
		f.Add(uint64(0x600000), uint64(0), uint64(0), uint64(1), uint64(pageSize), v, uint32(6), true)
	}
	path := fuzzPath(f)
	f.Fuzz(func(t *testing.T, vaddr, off, filesz, memsz, align, entry uint64, flags uint32, dyn bool) {
		e := tinyELF()
		e.phdrs = append(e.phdrs, phdr{ptLoad, flags, off, vaddr, filesz, memsz, align})
		e.entry = entry
		if dyn {
			e.typ = etDyn
		}
		openFile(t, path, e.bytes())
	})
}

// FuzzScript compares with the kernel's answer to the same #! line: the errno, or the interpreter's argument list.
func FuzzScript(f *testing.F) {
	for _, line := range []string{"", "/bin/true", " /bin/true -a b \t\n", "/bin/true\x00\n", strings.Repeat(" ", 256), "/bin/true\r\n", "/\n", ".\n", "/bin/true " + strings.Repeat("y", 240)} {
		f.Add(line)
	}
	dir := f.TempDir()
	n := 0
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "#!") {
			t.Skip("could name the script itself")
		}
		n++
		path := writeFile(t, filepath.Join(dir, fmt.Sprint(n)), []byte("#!"+line), 0o755)
		defer os.Remove(path)
		argv := []string{"zero", "one"}
		p, err := Open(path, argv, nil, Options{})
		var ours verdict
		if err != nil {
			ours = verdict{err.(*Error).Errno, err.(*Error).Fatal}
		} else {
			defer p.Close()
		}
		theirs := execNative(t, path, argv, nil, func(n *native) {
			if err != nil {
				return
			}
			want := string(n.read(t, n.stat[48], n.stat[49]-n.stat[48]))
			if got := strings.Join(p.Argv, "\x00") + "\x00"; got != want {
				t.Errorf("argv %q, kernel %q", got, want)
			}
		})
		if ours != theirs {
			t.Errorf("#!%q: ours %v, kernel %v", line, ours, theirs)
		}
	})
}
