package sys

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var madviseCalls = []entry{
	{unix.SYS_PROCESS_MADVISE, processMadvise},
	{unix.SYS_MEMBARRIER, membarrier},
}

const (
	pidfdSelfThread = -10000 // PIDFD_SELF_THREAD
	pidfdSelfGroup  = -20000 // PIDFD_SELF_THREAD_GROUP
	maxIOV          = 1024
	sizeIOVec       = 16
)

// processMadvise advises on the payload's own memory, as madvise does. Another
// process is EPERM, as without CAP_SYS_NICE.
func processMadvise(t task, a args) uint64 {
	if uint32(a[4]) != 0 || a[2] > maxIOV {
		return fail(unix.EINVAL)
	}
	vec := make([]byte, a[2]*sizeIOVec)
	if e := usermem.CopyIn(vec, a[1]); e != 0 {
		return fail(e)
	}
	pid, e := pidOf(t, a[0])
	switch {
	case e != 0:
		return fail(e)
	case pid != t.Pid():
		return fail(unix.EPERM)
	}
	return adviseOwn(t, vec, a[3])
}

// adviseOwn returns the bytes advised on, or the error if there are none.
func adviseOwn(t task, vec []byte, behavior uint64) uint64 {
	var done uint64
	for ; len(vec) > 0; vec = vec[sizeIOVec:] {
		n := le64(vec[8:])
		if r := t.Process().Madvise(le64(vec), n, behavior); r != 0 {
			if done > 0 {
				break
			}
			return r
		}
		done += n
	}
	return done
}

// pidOf returns the process of a pidfd.
func pidOf(t task, fd uint64) (int, unix.Errno) {
	switch int32(fd) {
	case pidfdSelfThread, pidfdSelfGroup:
		return t.Pid(), 0
	}
	proc := procfs(t)
	if !hypercall.ValidFD(t, fd) || proc.fd < 0 {
		return 0, unix.EBADF
	}
	text, err := readFile(proc.fd, "thread-self/fdinfo/"+strconv.Itoa(int(int32(fd))))
	if err != nil {
		return 0, unix.EBADF
	}
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(line, "Pid:\t"); ok {
			if pid, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && pid > 0 {
				return pid, 0
			}
			return 0, unix.ESRCH
		}
	}
	return 0, unix.EBADF
}

// Commands of membarrier(2) that restart sequences of rseq(2), which the host
// does not know of.
const membarrierRseq = 1<<7 | 1<<8

// membarrier is the host's: the interrupt that makes a CPU pass a barrier
// interrupts a vCPU as well.
func membarrier(t task, a args) uint64 {
	cmd := uint32(a[0])
	if cmd&membarrierRseq != 0 {
		return fail(unix.EINVAL)
	}
	r := pass(t, unix.SYS_MEMBARRIER, a)
	if cmd == 0 && hypercall.Errno(r) == 0 {
		r &^= membarrierRseq
	}
	return r
}
