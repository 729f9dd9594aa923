package target

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMappingString prints what the kernel prints: it takes this process's own maps apart and puts them together again.
func TestMappingString(t *testing.T) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		var m Mapping
		var perms string
		_, err := fmt.Sscanf(s.Text(), "%x-%x %s %x %x:%x %d", &m.Start, &m.End, &perms, &m.Offset, &m.Major, &m.Minor, &m.Inode)
		if err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		for i, c := range "rwx" {
			if rune(perms[i]) == c {
				m.Prot |= 1 << i
			}
		}
		m.Shared = perms[3] == 's'
		if i := strings.IndexAny(s.Text(), "/["); i >= 0 {
			m.Name = s.Text()[i:]
		}
		if got := m.String(); got != s.Text() {
			t.Errorf("got  %q\nwant %q", got, s.Text())
		}
	}
	if lines == 0 {
		t.Fatal("/proc/self/maps is empty")
	}
}
