package monitor

import (
	"testing"

	"kmdev/monitor/hypercall"
)

// TestEveryHandledRowIsServed: a row that is marked so has its function, and a function has its row.
func TestEveryHandledRowIsServed(t *testing.T) {
	registerHandlers()
	handled := map[int]bool{}
	for _, nr := range hypercall.Handled() {
		handled[nr] = true
		if functions[nr] == nil {
			t.Errorf("%s (%d) has no function", hypercall.Lookup(nr).Name, nr)
		}
	}
	for nr, fn := range functions {
		if fn != nil && !handled[nr] {
			t.Errorf("the function of %d is never called: its row is not marked Handle", nr)
		}
	}
}

// TestRestartCodes: which results settle must look at.
func TestRestartCodes(t *testing.T) {
	for ret, want := range map[int64]bool{0: false, -1: false, -511: false, -512: true, -513: true, -514: true, -516: true, -517: false, 512: false} {
		if got := isRestart(uint64(ret)); got != want {
			t.Errorf("isRestart(%d) = %v", ret, got)
		}
	}
}
