package hypercall_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// harmless are calls that change nothing outside the memory they are given,
// whatever their arguments.
var harmless = []int{
	unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_READV, unix.SYS_PREADV, unix.SYS_PREADV2, unix.SYS_FSTAT, unix.SYS_MKDIR,
	unix.SYS_GETCWD, unix.SYS_FSTATFS, unix.SYS_LLISTXATTR, unix.SYS_LGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FGETXATTR,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_TIMES, unix.SYS_TIME,
	unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_GETITIMER, unix.SYS_CAPGET, unix.SYS_GETGROUPS, unix.SYS_GETRESUID,
	unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_GETATTR, unix.SYS_SCHED_RR_GET_INTERVAL,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETRANDOM, unix.SYS_GETCPU, unix.SYS_TIMER_GETTIME,
	unix.SYS_TIMERFD_GETTIME, unix.SYS_MQ_GETSETATTR, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT, unix.SYS_CACHESTAT,
	unix.SYS_LSM_LIST_MODULES, unix.SYS_GET_MEMPOLICY, unix.SYS_SHMCTL, unix.SYS_MSGCTL,
}

// FuzzTranslate checks for every row that whatever the arguments, the host is
// given no address outside the payload's window and the thread's scratch
// memory, and no descriptor of the monitor's.
func FuzzTranslate(f *testing.F) {
	for r := range hypercall.Rows {
		f.Add(uint16(r.Nr), uint64(0), uint64(1), uint64(usermem.Size-1), ^uint64(0), uint64(usermem.Window), uint64(700))
	}
	f.Add(uint16(unix.SYS_READV), uint64(3), uint64(0x1000), uint64(1024), uint64(0), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, nr uint16, a0, a1, a2, a3, a4, a5 uint64) {
		row := hypercall.Lookup(int(nr))
		if row == nil {
			return
		}
		k := newTask(t)
		a := [6]uint64{a0, a1, a2, a3, a4, a5}
		first := k.Scratch().Alloc(0).Host()
		h := hypercall.Translate(k, row, &a)
		for i, arg := range row.Args {
			checkTranslated(t, k, row, i, arg, a, h, first)
		}
	})
}

func checkTranslated(t *testing.T, k *faketask.Task, row *hypercall.Row, i int, arg hypercall.Arg, a [6]uint64, h [6]uintptr, scratch uintptr) {
	t.Helper()
	switch {
	case arg.Type.Kind() == hypercall.FD || arg.Type.Kind() == hypercall.DirFD:
		if h[i] != hypercall.ClosedFD && int32(h[i]) >= int32(k.FDLimit()) {
			t.Errorf("%s: descriptor %d for %d", row.Name, int32(h[i]), a[i])
		}
	case arg.Type.Pointer() || arg.Type.Kind() == hypercall.Addr || arg.Type.Kind() == hypercall.Any:
		p := h[i]
		ok := p == 0 && a[i] == 0 && arg.Type.Nullable() ||
			p >= usermem.Window && p < usermem.Window+usermem.Size ||
			p >= scratch && p < scratch+(256<<10) ||
			p >= 1<<63
		if !ok {
			t.Errorf("%s %s: host address %#x for %#x", row.Name, arg.Name, p, a[i])
		}
	}
}

// FuzzPass makes harmless calls with any arguments, among them addresses of the
// monitor's own, and looks whether the monitor's memory has changed.
func FuzzPass(f *testing.F) {
	for i := range harmless {
		f.Add(uint8(i), uint64(0), uint64(1), uint64(2), uint64(3), uint64(4), uint64(5), uint8(0x15), uint8(0))
		f.Add(uint8(i), uint64(0), uint64(0), uint64(64), uint64(64), uint64(0), uint64(0), uint8(0x3e), uint8(0xff))
	}
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, call uint8, a0, a1, a2, a3, a4, a5 uint64, inside, monitor uint8) {
		k := newTask(t)
		k.Limit = zero + 1 // no other file of the test's can be read
		p := k.Map(1)
		canary := bytes.Repeat([]byte{0xa5}, 1<<16)
		a := [6]uint64{a0, a1, a2, a3, a4, a5}
		for i := range a {
			switch {
			case inside>>i&1 != 0:
				a[i] = uint64(p) + a[i]%page
			case monitor>>i&1 != 0:
				a[i] = uint64(addressOf(canary)) + a[i]%uint64(len(canary))
				if a[i]&1 != 0 {
					a[i] -= usermem.Window
				}
			}
		}
		nr := harmless[int(call)%len(harmless)]
		if fdAt0(nr) {
			a[0] = uint64(zero)
		}
		k.Scratch().Reset()
		hypercall.PassThrough(k, hypercall.Lookup(nr), &a)
		if !bytes.Equal(canary, bytes.Repeat([]byte{0xa5}, 1<<16)) {
			t.Errorf("%s%#x wrote the monitor's memory", hypercall.Lookup(nr).Name, a)
		}
	})
}

// fdAt0 tells whether a call reads from a descriptor.
func fdAt0(nr int) bool {
	args := hypercall.Lookup(nr).Args
	return len(args) > 0 && args[0].Type.Kind() == hypercall.FD
}
