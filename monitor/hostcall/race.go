//go:build race

package hostcall

// raceEnabled: the race detector's shadow memory lies in the payload's window, so nothing can run there.
const raceEnabled = true
