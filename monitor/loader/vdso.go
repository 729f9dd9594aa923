package loader

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// HostVDSO is where the monitor's own process has the vDSO and the data pages that it reads. Addresses are host
// addresses, sizes are in bytes, all page-aligned. The code finds the data by its distance: a copy must keep it, so data
// and code are placed in a row, as here: VvarStart+VvarSize = VdsoStart.
//
// What the functions of the vDSO need when a copy runs at CPL 3 of a guest (Linux 6.18, arch/x86/entry/vdso):
//
//   - clock_gettime, gettimeofday, time, clock_getres: the data pages as the host's live ones (a read-only memory slot
//     over them), RDTSC or RDTSCP at CPL 3, and a guest TSC equal to the host's, offset 0 and same frequency, since the
//     data holds host TSC values. CPU-time clocks, and all clocks when the host's clocksource is not one that user space
//     can read, end in a SYSCALL instruction: an ordinary hypercall.
//   - getcpu: RDPID, or LSL of selector 0x7b before there was RDPID. On VT-x and AMD-V that is the guest's TSC_AUX or GDT:
//     whatever the monitor put there, stale once the host moves the thread. RedirectGetcpu makes it a hypercall instead.
//     On a PVM host RDPID shows the host's TSC_AUX, live and right (measured): leave it.
//   - getrandom (Linux 6.11; glibc ≥ 2.41 calls it): its state lives in payload memory which the C library maps with the
//     flags that the vDSO tells it, MAP_ANONYMOUS|MAP_DROPPABLE; the data pages say when to take a new key, by SYSCALL. So
//     the monitor's mmap must pass the mapping type MAP_DROPPABLE (8) on to the host; where mmap says EINVAL, glibc makes
//     the system call, which is right but slow. The state must be wiped in a forked child; droppable host mappings are.
type HostVDSO struct {
	VvarStart, VvarSize uint64
	VdsoStart, VdsoSize uint64
	// VclockStart is where in the data pages [vvar_vclock] begins, the pages that hypervisors share (Linux 6.13);
	// 0 if it has no mapping of its own.
	VclockStart uint64
}

// FindHostVDSO finds the vDSO of this process. ok is false when there is none (vdso=0 on the kernel command line), or its
// neighbourhood is not as expected: then a program must do without. It makes at least three system calls, since auxv
// gives the code's address only: it reads /proc/self/maps.
func FindHostVDSO() (v HostVDSO, ok bool) {
	if ReadHostAuxv().SysinfoEHDR == 0 {
		return v, false
	}
	maps, ok := readMaps()
	if !ok {
		return v, false
	}
	return parseVDSO(maps)
}

// readMaps reads /proc/self/maps; what os.ReadFile does in more system calls.
func readMaps() ([]byte, bool) {
	fd, err := unix.Open("/proc/self/maps", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 16384)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return buf, err == nil
		}
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf[len(buf)-n:], []byte("[vdso]\n")) {
			return buf, true // the data pages come before it
		}
	}
}

// parseVDSO finds the vDSO in the text of /proc/PID/maps (proc_pid_maps(5)).
func parseVDSO(maps []byte) (v HostVDSO, ok bool) {
	for len(maps) > 0 {
		line, rest, _ := bytes.Cut(maps, []byte{'\n'})
		maps = rest
		name := line[bytes.LastIndexByte(line, ' ')+1:]
		switch string(name) {
		case "[vvar]", "[vvar_vclock]", "[vdso]":
		default:
			continue
		}
		start, end, good := parseRange(line)
		if !good || !v.add(string(name), start, end) {
			return HostVDSO{}, false
		}
	}
	return v, v.VdsoSize != 0 && v.VvarSize != 0 && v.VvarStart+v.VvarSize == v.VdsoStart
}

// add takes one of the mappings; they come in ascending order.
func (v *HostVDSO) add(name string, start, end uint64) bool {
	switch {
	case name == "[vdso]" && v.VdsoSize == 0:
		v.VdsoStart, v.VdsoSize = start, end-start
		return true
	case name == "[vvar]" && v.VvarSize == 0:
		v.VvarStart, v.VvarSize = start, end-start
		return true
	case name == "[vvar_vclock]" && v.VclockStart == 0 && start == v.VvarStart+v.VvarSize:
		v.VclockStart = start
		v.VvarSize += end - start
		return true
	}
	return false
}

// parseRange reads "start-end " in hexadecimal.
func parseRange(line []byte) (start, end uint64, ok bool) {
	a, rest, found := bytes.Cut(line, []byte{'-'})
	b, _, found2 := bytes.Cut(rest, []byte{' '})
	start, ok1 := parseHex(a)
	end, ok2 := parseHex(b)
	return start, end, found && found2 && ok1 && ok2 && start < end && pageOff(start|end) == 0
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		d := bytes.IndexByte([]byte("0123456789abcdef"), c)
		if d < 0 || v>>60 != 0 {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, len(b) > 0
}
