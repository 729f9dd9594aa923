package hostcall

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cookies of this process. Random, so that no payload can make a signal that passes for the monitor's own.
var (
	kickCookie uint64
	wrapCookie uint32
)

func makeCookies() error {
	var b [12]byte
	r := raw6(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&b)), uintptr(len(b)), unix.GRND_NONBLOCK, 0, 0, 0)
	runtime.KeepAlive(&b)
	if r != uintptr(len(b)) {
		return &Error{"getrandom", errno(r)}
	}
	kickCookie = binary.LittleEndian.Uint64(b[:])
	wrapCookie = binary.LittleEndian.Uint32(b[8:]) | 1 // never 0, what the padding is otherwise
	return nil
}

// Kick makes a payload thread's Call return, or its KVM_RUN, whether it runs now or comes next: the kick stays pending
// until the thread takes it. Any thread may call it, as often as it likes; kicks that the thread has not taken yet
// merge into one. A thread that is gone is no error.
//
// A kick says "look again", nothing more: it may come without a cause, and merges with a SIGSTKFLT of the payload's
// own.
func Kick(tid int) {
	info := siginfo{signo: int32(kickSignal), code: siQueue, value: kickCookie}
	full := [128]byte{}
	*head(&full) = info
	raw6(unix.SYS_RT_TGSIGQUEUEINFO, getpid(), uintptr(tid), kickSignal, uintptr(unsafe.Pointer(&full)), 0, 0)
	runtime.KeepAlive(&full)
}

// IsKick tells whether a signal is a kick. If the user's RLIMIT_SIGPENDING is used up, the kernel delivers kicks
// without siginfo (si_code SI_USER from pid 0): those count, too, since a kick too many does no harm.
func IsKick(info *[128]byte) bool {
	h := head(info)
	if uintptr(h.signo) != kickSignal {
		return false
	}
	return hasCookie(info) || h.code == 0 && h.pid == 0 && h.uid == 0
}

//go:nosplit
//go:norace
func hasCookie(info *[128]byte) bool {
	h := head(info)
	return h.code == siQueue && h.value == kickCookie
}
