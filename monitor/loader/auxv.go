package loader

import (
	"golang.org/x/sys/unix"
)

// Keys of the auxiliary vector, getauxval(3) and <linux/auxvec.h>.
const (
	atNull            = 0
	atPhdr            = 3
	atPhent           = 4
	atPhnum           = 5
	atPagesz          = 6
	atBase            = 7
	atFlags           = 8
	atEntry           = 9
	atUID             = 11
	atEUID            = 12
	atGID             = 13
	atEGID            = 14
	atPlatform        = 15
	atHwcap           = 16
	atClktck          = 17
	atSecure          = 23
	atRandom          = 25
	atHwcap2          = 26
	atRseqFeatureSize = 27
	atRseqAlign       = 28
	atExecfn          = 31
	atSysinfoEhdr     = 33
	atMinsigstksz     = 51
)

// HostAuxv has the entries of the auxiliary vector that describe the machine and its kernel. An entry
// that some kernels do not have is left out of the program's vector if it is 0: MinSigStack and the two of rseq.
type HostAuxv struct {
	HWCAP, HWCAP2              uint64
	ClockTick                  uint64
	MinSigStack                uint64
	RseqFeatureSize, RseqAlign uint64
	SysinfoEHDR                uint64 // address of the monitor's own vDSO; not handed on
	Secure                     bool   // the monitor itself runs with raised privileges
}

// ReadHostAuxv takes them from the monitor's own vector, which the Go runtime keeps: no system call.
func ReadHostAuxv() HostAuxv {
	h := HostAuxv{ClockTick: 100}
	vec, err := unix.Auxv()
	if err != nil {
		return h
	}
	for _, e := range vec {
		v := uint64(e[1])
		switch e[0] {
		case atHwcap:
			h.HWCAP = v
		case atHwcap2:
			h.HWCAP2 = v
		case atClktck:
			h.ClockTick = v
		case atMinsigstksz:
			h.MinSigStack = v
		case atRseqFeatureSize:
			h.RseqFeatureSize = v
		case atRseqAlign:
			h.RseqAlign = v
		case atSysinfoEhdr:
			h.SysinfoEHDR = v
		case atSecure:
			h.Secure = v != 0
		}
	}
	return h
}

// auxPointers are the entries that point into the stack.
type auxPointers struct{ random, platform, execfn uint64 }

// auxEntry is one pair; skip leaves it out.
type auxEntry struct {
	key, value uint64
	skip       bool
}

// maxAuxEntries is how many entries auxEntries gives.
const maxAuxEntries = 22

// auxEntries is the vector in Linux's order (create_elf_tables, and ARCH_DLINFO for the first two), without AT_NULL.
// The number of entries does not depend on ptr.
func (p *Program) auxEntries(h *HostAuxv, s *Start, ptr auxPointers) []auxEntry {
	phdrs := p.exec.phdrAddr + s.LoadBias
	uid, euid := uint64(unix.Getuid()), uint64(unix.Geteuid())
	gid, egid := uint64(unix.Getgid()), uint64(unix.Getegid())
	secure := uint64(0)
	if uid != euid || gid != egid || h.Secure {
		secure = 1
	}
	return []auxEntry{ // maxAuxEntries
		{atSysinfoEhdr, s.VDSO, s.VDSO == 0},
		{atMinsigstksz, h.MinSigStack, h.MinSigStack == 0},
		{atHwcap, h.HWCAP, false},
		{atPagesz, pageSize, false},
		{atClktck, h.ClockTick, false},
		{atPhdr, phdrs, false},
		{atPhent, phdrSize, false},
		{atPhnum, uint64(p.exec.phnum), false},
		{atBase, s.InterpBase, false},
		{atFlags, 0, false},
		{atEntry, s.ProgEntry, false},
		{atUID, uid, false},
		{atEUID, euid, false},
		{atGID, gid, false},
		{atEGID, egid, false},
		{atSecure, secure, false},
		{atRandom, ptr.random, false},
		{atHwcap2, h.HWCAP2, false},
		{atExecfn, ptr.execfn, false},
		{atPlatform, ptr.platform, false},
		{atRseqFeatureSize, h.RseqFeatureSize, h.RseqFeatureSize == 0},
		{atRseqAlign, h.RseqAlign, h.RseqAlign == 0},
	}
}

// encodeAuxv gives the bytes, AT_NULL included.
func encodeAuxv(entries []auxEntry) []byte {
	b := make([]byte, 0, 16*(len(entries)+1))
	for _, e := range entries {
		if !e.skip {
			b = le.AppendUint64(b, e.key)
			b = le.AppendUint64(b, e.value)
		}
	}
	b = le.AppendUint64(b, atNull)
	return le.AppendUint64(b, 0)
}
