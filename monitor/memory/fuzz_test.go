package memory

import (
	"testing"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// fuzzCalls are the system calls that FuzzOps makes, and which of their arguments are addresses (a), lengths (l) or
// anything (x).
var fuzzCalls = []struct {
	nr   uint64
	args string
}{
	{unix.SYS_MMAP, "alxxxx"}, {unix.SYS_MUNMAP, "al"}, {unix.SYS_MPROTECT, "alx"}, {unix.SYS_MREMAP, "allxa"},
	{unix.SYS_BRK, "a"}, {unix.SYS_MADVISE, "alx"}, {unix.SYS_MLOCK2, "alx"}, {unix.SYS_MUNLOCK, "al"},
	{unix.SYS_MLOCKALL, "x"}, {unix.SYS_MUNLOCKALL, ""}, {unix.SYS_MSYNC, "alx"}, {unix.SYS_MINCORE, "ala"},
	{unix.SYS_REMAP_FILE_PAGES, "alxxx"}, {sysMseal, "alx"},
}

// fuzzWords are the values of an argument that is anything: flags and numbers that mean something somewhere.
var fuzzWords = []uint64{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 14, 18, 22, 23, 0x11, 0x12, 0x20, 0x21, 0x22, 0x23, 0x31, 0x32, 0x33, 0x100022,
	0x122, 0x62, 0x40022, 0x20022, 0x1000, 0x5000, 0xfffff000, 1 << 47, 1 << 63, ^uint64(0), ^uint64(pageMask), 0x01000003, 0x2022, 0x8022}

// fuzzArg makes an argument of two bytes.
func fuzzArg(kind byte, b [2]byte) uint64 {
	switch {
	case kind == 'x' || b[1]&0xc0 == 0xc0:
		return fuzzWords[int(b[0])%len(fuzzWords)]
	case kind == 'a' && b[1]&0x40 != 0:
		return usermem.Size - uint64(b[0])*pageSize
	case kind == 'a':
		return region + uint64(b[0])*pageSize + uint64(b[1]&0x20)<<16
	}
	return uint64(b[0])*pageSize + uint64(b[1]&0x3f)
}

// FuzzOps makes any sequence of calls and faults; whatever they are, entries, slots and host mappings must fit the VMA list,
// and nothing outside the window may change.
func FuzzOps(f *testing.F) {
	f.Add([]byte{0, 1, 0, 9, 0, 3, 0, 18, 0, 0, 0, 0, 0, 3, 0, 200})
	f.Add([]byte{4, 9, 0, 0, 1, 0, 3, 0, 3, 0, 18, 0, 0, 0, 0, 0, 5, 1})
	f.Add([]byte{0, 255, 64, 200, 0, 3, 0, 18, 0, 0, 0, 0, 0, 2, 250, 64, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		as, slots := newSpace(t, func(c *Config) {
			c.MaxSlots = 40
			c.Limit = func(resource int) uint64 { return 64 * mib }
		})
		as.SetBrk(region - 1<<30)
		take := func() byte {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return b
		}
		for n := 0; len(data) > 0 && n < 300; n++ {
			op := take()
			if op&0x80 != 0 {
				at := fuzzArg('a', [2]byte{take(), op & 0x3f})
				as.Fault(at|uint64(take()&7)<<9, uint64(take()&0x1f), 0)
				continue
			}
			c := fuzzCalls[int(op)%len(fuzzCalls)]
			var args [6]uint64
			for i := range c.args {
				args[i] = fuzzArg(c.args[i], [2]byte{take(), take()})
			}
			if c.nr == unix.SYS_MMAP && args[3]&unix.MAP_ANONYMOUS == 0 {
				args[4] = noFD
			}
			r := as.syscall(c.nr, args)
			if testing.Verbose() {
				t.Logf("%v = %#x", call{c.nr, args}, r)
			}
		}
		checkInvariants(t, as, slots)
		as.Close()
	})
}
