//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import "unsafe"

// siginfo's head: the kernel's struct kernel_siginfo (include/uapi/asm-generic/siginfo.h). The word after si_code is
// padding that the kernel carries along in its queue, from rt_sigqueueinfo to whoever takes the signal.
type siginfo struct {
	signo, errno, code int32
	pad                uint32
	pid                int32
	uid                uint32
	value              uint64
}

//go:nosplit
//go:norace
//go:nocheckptr
func head(info *[128]byte) *siginfo { return (*siginfo)(unsafe.Pointer(info)) }

func signo(info *[128]byte) int { return int(head(info).signo) }

//go:nosplit
//go:norace
func sicode(info *[128]byte) int32 { return head(info).code }

// faultAddress is si_addr.
//
//go:nosplit
//go:norace
func faultAddress(info *[128]byte) uint64 {
	h := head(info)
	return uint64(uint32(h.pid)) | uint64(h.uid)<<32
}

//go:nosplit
//go:norace
func senderPid(info *[128]byte) int32 { return head(info).pid }

// Only the thread that a signal is for may queue a si_code that means "the kernel" (≥ 0) or "tgkill"
// (rt_sigqueueinfo(2)). wrap hides such a code in one that anybody may queue, and marks the siginfo by a cookie in its
// padding; unwrap, on the taking side, brings it back. Payload code cannot know the cookie.
const (
	wrappedSign  = int32(-1 << 31) // code ^ wrappedSign, for codes ≥ 0
	wrappedTkill = int32(-1 << 30) // stands for SI_TKILL
)

//go:nosplit
//go:norace
func wrap(info *[128]byte) {
	h := head(info)
	switch {
	case h.code >= 0:
		h.code ^= wrappedSign
	case h.code == siTkill:
		h.code = wrappedTkill
	default:
		return
	}
	h.pad = wrapCookie
}

func unwrap(info *[128]byte) {
	h := head(info)
	if h.pad != wrapCookie || h.code >= 0 {
		return
	}
	h.pad = 0
	if h.code == wrappedTkill {
		h.code = siTkill
		return
	}
	h.code ^= wrappedSign
}
