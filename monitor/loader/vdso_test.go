package loader

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindHostVDSO(t *testing.T) {
	v, ok := FindHostVDSO()
	if !ok {
		t.Fatal("this process has a vDSO, but it is not found")
	}
	if v.VdsoStart != ReadHostAuxv().SysinfoEHDR {
		t.Errorf("code at %#x, auxv says %#x", v.VdsoStart, ReadHostAuxv().SysinfoEHDR)
	}
	if v.VvarStart+v.VvarSize != v.VdsoStart || v.VvarSize < pageSize || v.VvarSize%pageSize != 0 || v.VdsoSize%pageSize != 0 {
		t.Errorf("data and code are not in a row: %+v", v)
	}
	f, err := elf.NewFile(bytes.NewReader(v.Image()))
	if err != nil {
		t.Fatal(err)
	}
	syms, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC {
			continue
		}
		if at, size, ok := vdsoSymbol(v.Image(), s.Name); !ok || at != s.Value || size != s.Size {
			t.Errorf("%s: at %#x size %#x %v, want %#x %#x", s.Name, at, size, ok, s.Value, s.Size)
		}
	}
}

func TestParseVDSO(t *testing.T) {
	const before, after = "00400000-00401000 r-xp 00000000 fe:00 1   /x [vdso] y\n7f00-8000 zz\n", "7fff0000-7fff1000 rw-p 00000000 00:00 0 [stack]\n"
	for _, c := range []struct {
		name, maps string
		want       HostVDSO
		ok         bool
	}{
		{"one data mapping", "7000-b000 r--p 00000000 00:00 0    [vvar]\nb000-d000 r-xp 00000000 00:00 0   [vdso]\n",
			HostVDSO{VvarStart: 0x7000, VvarSize: 0x4000, VdsoStart: 0xb000, VdsoSize: 0x2000}, true},
		{"two data mappings", "7000-b000 r--p 00000000 00:00 0 [vvar]\nb000-c000 r--p 00000000 00:00 0 [vvar_vclock]\nc000-d000 r-xp 00000000 00:00 0 [vdso]\n",
			HostVDSO{VvarStart: 0x7000, VvarSize: 0x5000, VclockStart: 0xb000, VdsoStart: 0xc000, VdsoSize: 0x1000}, true},
		{"no vDSO", "", HostVDSO{}, false},
		{"no data", "b000-d000 r-xp 00000000 00:00 0   [vdso]\n", HostVDSO{}, false},
		{"a hole before the code", "7000-b000 r--p 0 00:00 0    [vvar]\nc000-d000 r-xp 00000000 00:00 0   [vdso]\n", HostVDSO{}, false},
		{"a hole in the data", "7000-8000 r--p 0 00:00 0    [vvar]\n9000-a000 r--p 0 0 0 [vvar_vclock]\na000-d000 r-xp 00000000 00:00 0   [vdso]\n", HostVDSO{}, false},
		{"twice", "7000-8000 r--p 0 00:00 0    [vvar]\n8000-9000 r--p 0 0 0 [vvar]\n9000-d000 r-xp 00000000 00:00 0   [vdso]\n", HostVDSO{}, false},
		{"not page-aligned", "7000-8001 r--p 0 0 0 [vvar]\n8001-d000 r-xp 0 0 0 [vdso]\n", HostVDSO{}, false},
		{"not hexadecimal", "7x00-8000 r--p 0 0 0 [vvar]\n8000-d000 r-xp 0 0 0 [vdso]\n", HostVDSO{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parseVDSO([]byte(before + c.maps + after))
			if ok != c.ok || ok && got != c.want {
				t.Errorf("%+v %v, want %+v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

// callGetcpu maps FILE, pins itself to CPU, and calls the function at OFFSET in it.
const callGetcpu = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
int main(int argc, char **argv) {
	char *image = mmap(0, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(argv[1], O_RDONLY), 0);
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[3]), &set);
	if (image == MAP_FAILED || sched_setaffinity(0, sizeof set, &set)) return 1;
	unsigned cpu = -1, node = -1;
	long (*getcpu)(unsigned *, unsigned *, void *) = (void *)(image + strtol(argv[2], 0, 0));
	long r = getcpu(&cpu, &node, 0);
	printf("%ld %u %u\n", r, cpu, node == -1);
	return 0;
}`

func TestRedirectGetcpu(t *testing.T) {
	v, ok := FindHostVDSO()
	if !ok {
		t.Fatal("no vDSO")
	}
	image := v.Image()
	if !RedirectGetcpu(image) {
		t.Fatal("__vdso_getcpu not found")
	}
	at, _, _ := vdsoSymbol(image, "__vdso_getcpu")
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "vdso"), image, 0o644)
	src, caller := writeFile(t, filepath.Join(dir, "c.c"), []byte(callGetcpu), 0o644), filepath.Join(dir, "c")
	if msg, err := exec.Command("gcc", "-o", caller, src).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; cpu < 1024; cpu++ {
		if !set.IsSet(cpu) {
			continue
		}
		run := exec.Command(caller, file, fmt.Sprint(at), fmt.Sprint(cpu))
		out, err := run.CombinedOutput()
		if want := fmt.Sprintf("0 %d 0", cpu); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("getcpu on CPU %d: %q %v, want %q", cpu, out, err, want)
		}
	}
	if bytes.Equal(image, v.Image()) {
		t.Error("the copy is not changed")
	}
}

// FuzzVDSOImage: whatever the bytes, no panic, and what is found lies in the image.
func FuzzVDSOImage(f *testing.F) {
	if v, ok := FindHostVDSO(); ok {
		f.Add(v.Image())
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, image []byte) {
		at, size, ok := vdsoSymbol(image, "__vdso_getcpu")
		if ok && (at > uint64(len(image)) || size > uint64(len(image))-at) {
			t.Errorf("symbol at %#x+%#x in an image of %#x bytes", at, size, len(image))
		}
		RedirectGetcpu(image)
	})
}

// FuzzParseVDSO: what is accepted is in a row.
func FuzzParseVDSO(f *testing.F) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(maps)
	f.Fuzz(func(t *testing.T, maps []byte) {
		if v, ok := parseVDSO(maps); ok && (v.VvarStart+v.VvarSize != v.VdsoStart || v.VdsoSize == 0 || v.VvarSize == 0) {
			t.Errorf("accepted %+v", v)
		}
	})
}
