package loader

import (
	"golang.org/x/sys/unix"
)

// platform is AT_PLATFORM's string.
const platform = "x86_64\x00"

// randomBytes is the size of what AT_RANDOM points at.
const randomBytes = 16

// The initial stack, from the top down (fs/exec.c and create_elf_tables in fs/binfmt_elf.c):
//
//	8 zero bytes · AT_EXECFN's string · env strings · argv strings      (each list ascending)
//	random gap of less than 8 KiB, then 16-byte alignment
//	"x86_64" · 16 random bytes · padding
//	auxv · 0 · envp pointers · 0 · argv pointers · argc                 ← rsp, 16-byte aligned
//
// writeStack builds it and fills in the fields of s that tell where things are.
func (p *Program) writeStack(w Writer, s *Start) *fault {
	var noise [randomBytes + 2]byte
	if _, err := unix.Getrandom(noise[:], 0); err != nil {
		return faultf(toErrno(err), "cannot start without random bytes: getrandom: %s", toErrno(err))
	}
	strs := p.stringArea(s)
	low := s.StackTop - uint64(len(strs))
	if errno := w.CopyOut(low, strs); errno != 0 {
		return faultf(errno, "has no room for its arguments on the stack: %s", errno)
	}
	gap := uint64(le.Uint16(noise[randomBytes:]) % maxGap)
	if p.opts.NoRandomize {
		gap = 0
	}
	tables := p.tables(s, (low-gap)&^15, noise[:randomBytes])
	if errno := w.CopyOut(s.StackPointer, tables); errno != 0 {
		return faultf(errno, "has no room for its auxiliary vector on the stack: %s", errno)
	}
	return nil
}

// Sizes of what lies between the strings and the pointers.
const (
	maxGap    = 8192 // the random gap is shorter
	maxTables = len(platform) + randomBytes + 2*16 + 16*(maxAuxEntries+1)
)

// stackSize bounds what writeStack will write, in bytes.
func (p *Program) stackSize() uint64 {
	strs := stringsLen(p.Argv) + stringsLen(p.Env) + len(p.Filename) + 1 + 8
	pointers := 8 * (len(p.Argv) + len(p.Env) + 3)
	return uint64(strs + maxGap + maxTables + pointers)
}

// stringArea is the topmost part: argv, env, filename, 8 zero bytes.
func (p *Program) stringArea(s *Start) []byte {
	argLen, envLen := stringsLen(p.Argv), stringsLen(p.Env)
	b := make([]byte, 0, argLen+envLen+len(p.Filename)+1+8)
	for _, list := range [][]string{p.Argv, p.Env, {p.Filename}} {
		for _, str := range list {
			b = append(append(b, str...), 0)
		}
	}
	b = append(b, make([]byte, 8)...)
	s.ArgStart = s.StackTop - uint64(len(b))
	s.ArgEnd = s.ArgStart + uint64(argLen)
	s.EnvStart, s.EnvEnd = s.ArgEnd, s.ArgEnd+uint64(envLen)
	return b
}

func stringsLen(list []string) int {
	n := 0
	for _, s := range list {
		n += len(s) + 1
	}
	return n
}

// tables is everything below at, which is 16-byte aligned, down to the stack pointer.
func (p *Program) tables(s *Start, at uint64, random []byte) []byte {
	host := p.opts.Host
	if host == nil {
		h := ReadHostAuxv()
		host = &h
	}
	ptr := auxPointers{platform: at - uint64(len(platform)), execfn: s.EnvEnd}
	ptr.random = ptr.platform - randomBytes
	s.Random = ptr.random
	s.auxv = encodeAuxv(p.auxEntries(host, s, ptr))

	items := uint64(1 + len(p.Argv) + 1 + len(p.Env) + 1)
	s.StackPointer = (ptr.random - uint64(len(s.auxv)) - items*8) &^ 15

	b := make([]byte, 0, at-s.StackPointer)
	b = le.AppendUint64(b, uint64(len(p.Argv)))
	b = appendPointers(b, p.Argv, s.ArgStart)
	b = appendPointers(b, p.Env, s.EnvStart)
	b = append(b, s.auxv...)
	b = b[:cap(b)]
	copy(b[ptr.random-s.StackPointer:], random)
	copy(b[ptr.platform-s.StackPointer:], platform)
	return b
}

// appendPointers appends the addresses of strings that lie one after the other from at, and a null.
func appendPointers(b []byte, list []string, at uint64) []byte {
	for _, s := range list {
		b = le.AppendUint64(b, at)
		at += uint64(len(s)) + 1
	}
	return le.AppendUint64(b, 0)
}
