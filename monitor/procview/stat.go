package procview

import (
	"bytes"
	"strconv"
)

// Fields of /proc/PID/stat, by their numbers in proc_pid_stat(5).
const (
	statState      = 3
	statThreads    = 20
	statVsize      = 23
	statRSS        = 24
	statStartCode  = 26
	statEndCode    = 27
	statStartStack = 28
	statBlocked    = 32
	statIgnored    = 33
	statCaught     = 34
	statWchan      = 35
	statStartData  = 45
	statEndData    = 46
	statStartBrk   = 47
	statArgStart   = 48
	statArgEnd     = 49
	statEnvStart   = 50
	statEnvEnd     = 51
)

// noAddress is what stat has for an address that the reader may not know.
const noAddress = 1

// Stat is /proc/PID/stat. Whoever may not see the process's addresses on the host gets none here.
func (v *View) Stat(host []byte) []byte {
	s := parseStat(host)
	if s == nil {
		return host
	}
	a := &v.Addresses
	s.set(statThreads, uint64(v.Threads))
	s.set(statVsize, v.Sizes.Total)
	s.set(statRSS, v.resident(s.get(statRSS)*pageSize)/pageSize)
	const low = 1<<31 - 1 // these fields are signed and show the first 31 signals
	s.set(statBlocked, v.Blocked&low)
	s.set(statIgnored, v.Ignored&low)
	s.set(statCaught, v.Caught&low)
	s.set(statWchan, 0)
	if s.get(statStartCode) != noAddress || s.get(statEndCode) != noAddress {
		s.set(statStartCode, a.StartCode)
		s.set(statEndCode, a.EndCode)
		s.set(statStartStack, v.StartStack)
		for n, value := range map[int]uint64{
			statStartData: a.StartData, statEndData: a.EndData, statStartBrk: v.StartBrk,
			statArgStart: a.ArgStart, statArgEnd: a.ArgEnd, statEnvStart: a.EnvStart, statEnvEnd: a.EnvEnd,
		} {
			s.set(n, value)
		}
	}
	return s.text()
}

// resident is the payload's part of a resident set of n bytes.
func (v *View) resident(n uint64) uint64 { return sub(n, v.Monitor.Anon+v.Monitor.File) }

// stat is a line of /proc/PID/stat: everything up to the name's last parenthesis, and the fields after it.
type stat struct {
	head   []byte
	fields [][]byte // from field 3 on
}

func parseStat(line []byte) *stat {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return nil
	}
	return &stat{line[:end+1], bytes.Fields(line[end+1:])}
}

func (s *stat) get(n int) uint64 {
	if n -= statState; n >= len(s.fields) {
		return 0
	}
	value, _ := strconv.ParseUint(string(s.fields[n]), 10, 64)
	return value
}

func (s *stat) set(n int, value uint64) {
	if n -= statState; n < len(s.fields) {
		s.fields[n] = strconv.AppendUint(nil, value, 10)
	}
}

func (s *stat) text() []byte {
	out := append([]byte(nil), s.head...)
	for _, f := range s.fields {
		out = append(append(out, ' '), f...)
	}
	return append(out, '\n')
}

// StartTime is when the process of a stat line began, in clock ticks since boot; 0 if the line does not tell.
func StartTime(line []byte) uint64 {
	const startTime = 22
	s := parseStat(line)
	if s == nil {
		return 0
	}
	return s.get(startTime)
}

// HostAddresses gives the addresses of a stat line of the host's, less window: a monitor has told the kernel its payload's.
// ok is false if they are not its payload's, or may not be known.
func (v *View) HostAddresses(line []byte, window, size uint64) (ok bool) {
	s := parseStat(line)
	if s == nil || s.get(statArgStart)-window >= size {
		return false
	}
	at := func(n int) uint64 { return sub(s.get(n), window) }
	v.Addresses = Addresses{at(statStartCode), at(statEndCode), at(statStartData), at(statEndData),
		at(statArgStart), at(statArgEnd), at(statEnvStart), at(statEnvEnd)}
	v.StartBrk, v.StartStack = at(statStartBrk), at(statStartStack)
	return true
}

// Statm is /proc/PID/statm.
func (v *View) Statm(host []byte) []byte {
	f := bytes.Fields(host)
	const fields = 7
	if len(f) != fields {
		return host
	}
	n := func(i int) uint64 { x, _ := strconv.ParseUint(string(f[i]), 10, 64); return x }
	out := []byte(nil)
	for _, pages := range [fields]uint64{
		v.Sizes.Total / pageSize, v.resident(n(1)*pageSize) / pageSize, sub(n(2), v.Monitor.File/pageSize),
		v.Addresses.text() / pageSize, 0, (v.Sizes.Data + v.Sizes.Stack) / pageSize, 0,
	} {
		out = append(strconv.AppendUint(out, pages, 10), ' ')
	}
	out[len(out)-1] = '\n'
	return out
}
