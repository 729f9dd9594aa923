//go:build !race

package hostcall

const raceEnabled = false
