package gdbserver

// gdbSignals has gdb's number of each Linux signal (gdb's signals.def against Linux's asm/signal.h). Index: Linux.
var gdbSignals = func() (t [65]int) {
	copy(t[:], []int{0, 1, 2, 3, 4, 5, 6, 10, 8, 9, 30, 11, 31, 13, 14, 15, gdbUnknown, 20, 19, 17, 18, 21, 22, 16, 24, 25, 26, 27, 28, 23, 32, 12})
	t[32] = 77 // SIG32
	for i := 33; i <= 63; i++ {
		t[i] = 45 + i - 33
	}
	t[64] = 78
	return t
}()

// gdbUnknown is GDB_SIGNAL_UNKNOWN: Linux has SIGSTKFLT, gdb has not.
const gdbUnknown = 143

// toGDB translates a Linux signal.
func toGDB(sig int) int {
	if sig < 0 || sig >= len(gdbSignals) {
		return gdbUnknown
	}
	return gdbSignals[sig]
}

// fromGDB translates one of gdb's; false if Linux has none such.
func fromGDB(sig int) (int, bool) {
	for linux, g := range gdbSignals {
		if g == sig && g != gdbUnknown {
			return linux, true
		}
	}
	return 0, false
}
