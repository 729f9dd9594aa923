//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import "golang.org/x/sys/unix"

// The payload's window of host addresses; package usermem names it for everybody else. window_amd64.s has the same
// numbers.
const (
	windowStart = 0x1000_0000_0000
	windowSize  = 0x6000_0000_0000
)

// windowReserved is set by the entry.
var windowReserved uint32

func reserveWindow()

// freeWindow gives up the entry's reservation: from now on the window is the address space's.
func freeWindow() {
	if windowReserved != 0 && !raceEnabled {
		raw6(unix.SYS_MUNMAP, windowStart, windowSize, 0, 0, 0, 0)
		windowReserved = 0
	}
}
