//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

// fdBound and FDEndWord are set by the entry, and read-only afterwards.
var fdBound, closedStandard uint64

// FDEndWord is FDEnd as a variable, for EarlyArg.From.
var FDEndWord uintptr

func roomForDescriptors()

// FDBound separates the payload's descriptors (below) from the monitor's. It is the payload's RLIMIT_NOFILE, with room
// to raise it to 32,768 if its hard limit allows: the kernel's table grows with the highest number in use, 8 bytes
// each. It is 0 if the entry could not find out.
func FDBound() int { return int(fdBound) }

// FDEnd is where the monitor's descriptors end: 4,160 of them, or 256 if the hard limit is too low for both and can't be
// raised, at worst half of it.
func FDEnd() int { return int(FDEndWord) }

// InheritedClosed tells which of descriptors 0, 1 and 2 were closed when this process was started (bit N). An eventfd
// has taken their place, for Go's runtime wants them open.
func InheritedClosed() uint64 { return closedStandard }
