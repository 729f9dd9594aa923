package gdbserver

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// smapsFigures are the lines of /proc/PID/smaps, in the kernel's order.
var smapsFigures = []string{
	"Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty",
	"Referenced", "Anonymous", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb",
	"Swap", "SwapPss", "Locked",
}

// procSmaps is /proc/PID/smaps, if the back end knows the figures.
func (s *session) procSmaps() ([]byte, error) {
	reporter, ok := s.proc.(target.UsageReporter)
	if !ok {
		return nil, unix.ENOENT
	}
	usage, err := reporter.Usage()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i := range usage {
		u := &usage[i]
		u.KB["Size"] = (u.End - u.Start) / 1024
		b.WriteString(u.String() + "\n")
		for _, name := range smapsFigures {
			if kb, ok := u.KB[name]; ok {
				fmt.Fprintf(&b, "%-16s%8d kB\n", name+":", kb)
			}
		}
		b.WriteString("VmFlags: " + vmFlags(&u.Mapping) + "\n")
	}
	return b.Bytes(), nil
}

// vmFlags says what the mapping's rights are, in the kernel's abbreviations.
func vmFlags(m *target.Mapping) string {
	flags := ""
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"rd", m.Prot&target.Read != 0}, {"wr", m.Prot&target.Write != 0}, {"ex", m.Prot&target.Exec != 0}, {"sh", m.Shared},
		{"mr", true}, {"mw", true}, {"me", true}, {"ms", m.Shared},
	} {
		if f.has {
			flags += f.name + " "
		}
	}
	return flags
}
