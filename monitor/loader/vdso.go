package loader

import (
	"bytes"
	"os"
)

// HostVDSO is where the monitor's own process has the vDSO and the data pages that it reads. Addresses are host addresses,
// sizes are in bytes, all page-aligned. The data pages ([vvar], and since Linux 6.13 [vvar_vclock]) end where the code
// begins, and the code finds them by that distance: a copy must keep it.
type HostVDSO struct {
	VvarStart, VvarSize uint64
	VdsoStart, VdsoSize uint64
}

// FindHostVDSO finds the vDSO of this process. ok is false when there is none (vdso=0 on the kernel command line), or its
// neighbourhood is not as expected: then a program must do without.
//
// It reads /proc/self/maps once (about 25 µs): auxv gives only the code's address, not its size, nor the data's.
func FindHostVDSO() (v HostVDSO, ok bool) {
	if ReadHostAuxv().SysinfoEHDR == 0 {
		return v, false
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return v, false
	}
	return parseVDSO(maps)
}

// parseVDSO finds the vDSO in the text of /proc/PID/maps (proc_pid_maps(5)).
func parseVDSO(maps []byte) (v HostVDSO, ok bool) {
	for len(maps) > 0 {
		line, rest, _ := bytes.Cut(maps, []byte{'\n'})
		maps = rest
		data, code := bytes.HasSuffix(line, []byte("[vvar]")) || bytes.HasSuffix(line, []byte("[vvar_vclock]")), bytes.HasSuffix(line, []byte("[vdso]"))
		if !data && !code {
			continue
		}
		start, end, good := parseRange(line)
		if !good {
			return HostVDSO{}, false
		}
		switch {
		case code:
			v.VdsoStart, v.VdsoSize = start, end-start
		case v.VvarSize == 0:
			v.VvarStart, v.VvarSize = start, end-start
		case start == v.VvarStart+v.VvarSize:
			v.VvarSize += end - start
		default:
			return HostVDSO{}, false
		}
	}
	return v, v.VdsoSize != 0 && v.VvarSize != 0 && v.VvarStart+v.VvarSize == v.VdsoStart
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
