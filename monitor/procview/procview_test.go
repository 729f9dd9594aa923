package procview

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	window = 0x5000_0000_0000 // not where Go may put its heap
	size   = 0x1000_0000_0000
)

func hostText(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("/proc/self/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// inWindow maps pages in the window of this process, which plays a monitor, and touches them.
func inWindow(t *testing.T, gva, pages uintptr) {
	t.Helper()
	p, err := unix.MmapPtr(-1, 0, at(window+gva), pages*pageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	unix.Madvise(bytesAt(p, pages*pageSize), unix.MADV_NOHUGEPAGE)
	t.Cleanup(func() { unix.MunmapPtr(p, pages*pageSize) })
}

func TestMaps(t *testing.T) {
	inWindow(t, 0x10000, 8)
	s := &Space{window, size, []Range{
		{0x12000, 0x14000, true, ""}, {0x15000, 0x16000, true, "[vdso]"}, {0x20000, 0x22000, false, "[vvar]"},
	}}
	want := []string{
		"00010000-00012000 rw-p 00000000 00:00 0", "00012000-00014000 rwxp 00000000 00:00 0",
		"00014000-00015000 rw-p 00000000 00:00 0", "00015000-00016000 rwxp 00000000 00:00 0 [vdso]",
		"00016000-00018000 rw-p 00000000 00:00 0", "00020000-00022000 r--p 00000000 00:00 0 [vvar]",
	}
	var got []string
	for line := range strings.Lines(string(s.Maps(hostText(t, "maps")))) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("maps:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if sum := s.Sizes(hostText(t, "maps")); sum != (Sizes{Total: 10 * pageSize, Data: 8 * pageSize}) {
		t.Errorf("sizes %+v", sum)
	}
}

// TestMapsAreWhole: a line is as the kernel writes it, pieces of the host's are one again.
func TestMapsAreWhole(t *testing.T) {
	host := fmt.Sprintf("%x-%x r--p 00002000 fe:00 77                     /a file\n%x-%x rw-p 00000000 00:00 0\n%x-%x rw-p 00000000 00:00 0 \n",
		window+0x400000, window+0x403000, window+0x404000, window+0x405000, window+0x405000, window+0x406000)
	s := &Space{window, size, []Range{{0x400000, 0x403000, true, ""}}}
	want := "00400000-00403000 r-xp 00002000 fe:00 77" + strings.Repeat(" ", 33) + "/a file\n00404000-00406000 rw-p 00000000 00:00 0 \n"
	if got := string(s.Maps([]byte(host))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSmapsAndResident(t *testing.T) {
	inWindow(t, 0x10000, 300)
	const least, most = 700 << 10, 8 << 20 // the host counts approximately
	s := &Space{window, size, []Range{{0x10000, 0x12000, true, ""}, {0x1000000, 0x1001000, true, "[vdso]"}}}
	smaps := string(s.Smaps(hostText(t, "smaps")))
	if !strings.HasPrefix(smaps, "00010000-0013c000 rwxp") || strings.Count(smaps, "VmFlags:") != 2 || !strings.Contains(smaps, "\nRss:                1200 kB\n") ||
		!strings.Contains(smaps, "[vdso]\nSize:                  4 kB\n") {
		t.Errorf("smaps:\n%s", smaps)
	}
	rollup := string(s.Rollup(hostText(t, "smaps_rollup"), hostText(t, "smaps")))
	// This process allocates between one reading and the next.
	if n := hostStatus([]byte(rollup)).kb("Anonymous"); !strings.HasPrefix(rollup, "00010000-0013c000 ---p") || n < least || n > most {
		t.Errorf("smaps_rollup:\n%s", rollup)
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer pagemap.Close()
	v := &View{Sizes: Sizes{Total: 300 * pageSize, Peak: 400 * pageSize}}
	v.Monitor = s.MonitorResident(hostText(t, "maps"), pagemap.ReadAt)
	if v.Monitor.Anon < 1<<16 || v.Monitor.File < 1<<20 {
		t.Errorf("a Go program has only %+v in memory", v.Monitor)
	}
	h := hostStatus(v.Status(hostText(t, "status")))
	if rss := h.kb("VmRSS"); rss < least || rss > most || h.kb("VmSize") != 300*pageSize || h.kb("VmPeak") != 400*pageSize {
		t.Errorf("VmRSS %d, VmSize %d, VmPeak %d", rss, h.kb("VmSize"), h.kb("VmPeak"))
	}
	if n := parseStat(v.Stat(hostText(t, "stat"))).get(statRSS) * pageSize; n < least || n > most {
		t.Errorf("stat's rss is %d", n)
	}
	if f := strings.Fields(string(v.Statm(hostText(t, "statm")))); f[0] != "300" {
		t.Errorf("statm: %s", f)
	}
}

func TestStat(t *testing.T) {
	host := []byte("77 (a) b) (c) S" + strings.Repeat(" 5", 49) + "\n")
	v := &View{Threads: 3, Blocked: 1<<63 | 2, Caught: 4, Addresses: Addresses{StartCode: 100, EnvEnd: 900}, StartStack: 50}
	got := string(v.Stat(host))
	s := parseStat([]byte(got))
	if !strings.HasPrefix(got, "77 (a) b) (c) S 5 5") || s.get(statThreads) != 3 || s.get(statBlocked) != 2 || s.get(statCaught) != 4 ||
		s.get(statStartCode) != 100 || s.get(statEnvEnd) != 900 || s.get(statStartStack) != 50 || StartTime(host) != 5 {
		t.Errorf("stat: %s", got)
	}
	// Who may not see addresses on the host sees none.
	hidden := bytes.ReplaceAll(host, []byte(" 5"), []byte(" 1"))
	if s := parseStat(v.Stat(hidden)); s.get(statStartCode) != 1 || s.get(statEnvEnd) != 1 {
		t.Errorf("stat: %s", s.text())
	}
}

func TestLimits(t *testing.T) {
	v := &View{Limits: map[int]unix.Rlimit{unix.RLIMIT_AS: {Cur: 12345, Max: unix.RLIM_INFINITY}, unix.RLIMIT_NOFILE: {Cur: 9, Max: 10}}}
	host := hostText(t, "limits")
	got := string(v.LimitsText(host))
	for _, line := range []string{
		"\nMax address space         12345                unlimited            bytes     \n",
		"\nMax open files            9                    10                   files     \n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if len(got) != len(host) || strings.Count(got, "\n") != strings.Count(string(host), "\n") {
		t.Errorf("%d bytes, the host has %d:\n%s", len(got), len(host), got)
	}
}

// FuzzTexts gives every function text of any kind: what comes out tells of no host address in the window.
func FuzzTexts(f *testing.F) {
	for _, name := range []string{"maps", "smaps", "smaps_rollup", "stat", "statm", "status", "limits", "numa_maps"} {
		if text, err := os.ReadFile("/proc/self/" + name); err == nil {
			f.Add(text)
		}
	}
	f.Add(fmt.Appendf(nil, "%x-%x rw-p 00000000 00:00 0\nRss: 4 kB\n", window, window+0x1000))
	v := &View{Sizes: Sizes{Total: 1}, Limits: map[int]unix.Rlimit{unix.RLIMIT_AS: {}}}
	s := &Space{window, size, []Range{{0x1000, 0x2000, true, ""}, {0x3000, 0x4000, false, "[vvar]"}}}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, out := range [][]byte{s.Maps(text), s.Smaps(text)} {
			for line := range bytes.Lines(out) {
				if h, ok := parseHeader(line); ok && h.end > size {
					t.Errorf("%q has an address beyond the payload's", line)
				}
			}
		}
		s.Rollup(text, text)
		s.NumaMaps(text)
		v.Stat(text)
		v.Statm(text)
		v.Status(text)
		v.LimitsText(text)
		v.HostAddresses(text, window, size)
		s.MonitorResident(text, func([]byte, int64) (int, error) { return 0, nil })
	})
}
