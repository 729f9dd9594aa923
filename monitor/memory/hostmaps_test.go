package memory

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"kmdev/monitor/usermem"
)

// hostLine is a line of /proc/PID/maps with addresses relative to base.
type hostLine struct {
	start, end uint64
	prot       string // rwx and p or s
	off        uint64
	dev        string
	ino        uint64
}

// hostMaps reads the lines of /proc/PID/maps within [base, base+size).
func hostMaps(t testing.TB, pid int, base, size uint64) []hostLine {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines []hostLine
	for s := bufio.NewScanner(file); s.Scan(); {
		var l hostLine
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s %x %s %d", &l.start, &l.end, &l.prot, &l.off, &l.dev, &l.ino); err != nil {
			t.Fatal(s.Text(), err)
		}
		if l.end <= base || l.start >= base+size {
			continue
		}
		l.start -= base
		l.end -= base
		lines = append(lines, l)
	}
	return lines
}

// checkHost compares the window's mappings with the VMA list: the same pages, with the rights the host is to have.
func checkHost(t testing.TB, as *AddressSpace) {
	t.Helper()
	type span struct {
		start, end uint64
		prot       uint32
		shared     bool
	}
	join := func(list []span, s span) []span {
		if n := len(list); n > 0 && list[n-1].end == s.start && list[n-1].prot == s.prot && list[n-1].shared == s.shared {
			list[n-1].end = s.end
			return list
		}
		return append(list, s)
	}
	var have, want []span
	for _, l := range hostMaps(t, os.Getpid(), usermem.Window, usermem.Size) {
		s := span{start: l.start, end: l.end, shared: l.prot[3] == 's'}
		for i, c := range "rwx" {
			if l.prot[i] == byte(c) {
				s.prot |= 1 << i
			}
		}
		have = join(have, s)
	}
	for v := range as.vmas.all(0, ^uint64(0)) {
		if !v.hostBacked() {
			want = join(want, span{v.Start, v.End, hostProt(v.Prot), v.Flags&Shared != 0})
		}
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Fatal("the host maps", fmt.Sprintf("%#v", have), "want", fmt.Sprintf("%#v", want))
	}
}

// lockedKB is VmLck of this process.
func lockedKB(t testing.TB) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "VmLck: %d kB", &kb); n == 1 {
			return kb
		}
	}
	t.Fatal("no VmLck")
	return 0
}
