package hostcall

import (
	"debug/elf"
	"os"
	"testing"
)

// The offset of every byte that the program's file has in memory is the one that package debug/elf finds.
func TestFileOffset(t *testing.T) {
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Filesz == 0 {
			continue
		}
		for _, at := range []uint64{0, p.Filesz / 2, p.Filesz - 1} {
			if got, ok := fileOffset(text[:4096], p.Vaddr+at); !ok || got != p.Off+at {
				t.Errorf("%#x is at %#x, %v; want %#x", p.Vaddr+at, got, ok, p.Off+at)
			}
		}
	}
	if _, ok := fileOffset(text[:4096], 0); ok {
		t.Error("address 0 is in the file")
	}
}

func FuzzFileOffset(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add(make([]byte, ehdrSize), uint64(1))
	header := make([]byte, ehdrSize+phentsize)
	header[offPhoff], header[offPhnum], header[ehdrSize], header[ehdrSize+phFilesz] = ehdrSize, 1, typeLoad, 9
	f.Add(header, uint64(5))
	f.Fuzz(func(t *testing.T, head []byte, vaddr uint64) {
		if len(head) >= ehdrSize {
			fileOffset(head, vaddr)
		}
	})
}
