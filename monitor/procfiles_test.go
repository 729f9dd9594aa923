package monitor

import (
	"slices"
	"testing"

	"kmdev/monitor/sys"
)

// TestProcTexts: package sys asks for no text that there is none of, and for all that there are.
func TestProcTexts(t *testing.T) {
	asked := sys.ProcTexts()
	for _, name := range asked {
		if procTexts[name] == nil {
			t.Errorf("/proc/PID/%s has no text", name)
		}
	}
	for name := range procTexts {
		if !slices.Contains(asked, name) {
			t.Errorf("nothing asks for the text of /proc/PID/%s", name)
		}
	}
}

func TestFDSize(t *testing.T) {
	for highest, want := range map[int]int{-1: 64, 0: 64, 63: 64, 64: 128, 127: 128, 128: 256, 255: 256, 256: 512, 19999: 32768} {
		if got := fdSize(highest); got != want {
			t.Errorf("a table that holds %d has %d places, want %d", highest, got, want)
		}
	}
}
