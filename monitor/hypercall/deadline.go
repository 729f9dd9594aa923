package hypercall

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/monitor/usermem"
)

// Until is the end of a relative timeout, kept absolute so that a call which
// is interrupted by a kick can go on with what is left. The zero value never
// ends.
type Until struct {
	Set bool
	at  time.Duration // since epoch
}

// epoch is where this process's monotonic clock begins.
var epoch = time.Now()

const second = uint64(time.Second)

// After returns the end of a timeout that begins now.
func After(d time.Duration) Until {
	now := time.Since(epoch)
	if d > math.MaxInt64-now {
		d = math.MaxInt64 - now
	}
	return Until{true, now + d}
}

// Deadline reads a relative struct timespec of the payload's: NULL is never,
// EFAULT and EINVAL as Linux gives them.
func Deadline(gva uint64) (Until, unix.Errno) {
	if gva == 0 {
		return Until{}, 0
	}
	d, e := ReadTimespec(gva)
	if e != 0 {
		return Until{}, e
	}
	return After(d), 0
}

// ReadTimespec reads a struct timespec that is no less than 0. Linux too keeps
// times as 63-bit nanoseconds and takes more for the maximum.
func ReadTimespec(gva uint64) (time.Duration, unix.Errno) {
	var ts [16]byte
	if e := usermem.CopyIn(ts[:], gva); e != 0 {
		return 0, e
	}
	return duration(binary.LittleEndian.Uint64(ts[:]), binary.LittleEndian.Uint64(ts[8:]))
}

func duration(sec, nsec uint64) (time.Duration, unix.Errno) {
	if int64(sec) < 0 || nsec >= second {
		return 0, unix.EINVAL
	}
	if sec >= math.MaxInt64/second {
		return math.MaxInt64, 0
	}
	return time.Duration(sec*second + nsec), 0
}

// Remaining returns what is left, never less than 0.
func (u Until) Remaining() time.Duration {
	if !u.Set {
		return math.MaxInt64
	}
	return max(0, u.at-time.Since(epoch))
}

// PutRemaining writes what is left as a struct timespec.
func (u Until) PutRemaining(m Mem, off int) {
	left := uint64(u.Remaining())
	m.PutUint64(off, left/second)
	m.PutUint64(off+8, left%second)
}
