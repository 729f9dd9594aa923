package gdbserver

import (
	"bytes"
	"fmt"
	"strings"
)

// size is what the payload has mapped, in bytes.
func (s *session) size() (total uint64) {
	maps, _ := s.proc.Maps()
	for i := range maps {
		total += maps[i].End - maps[i].Start
	}
	return total
}

// procStatus is /proc/PID/status with the payload's numbers where the monitor's differ: its threads, its memory.
func (s *session) procStatus() ([]byte, error) {
	host, err := s.hostProc("status")
	if err != nil {
		return nil, err
	}
	threads, _ := s.proc.Threads()
	size := fmt.Sprintf("%8d kB", s.size()/1024)
	values := map[string]string{"Threads": fmt.Sprint(len(threads)), "VmSize": size, "VmPeak": size, "TracerPid": "0"}
	if t, err := s.proc.Thread(s.pid); err == nil && t.Name != "" {
		values["Name"] = t.Name
	}
	var b strings.Builder
	for line := range strings.Lines(string(host)) {
		name, _, _ := strings.Cut(line, ":")
		if v, ok := values[name]; ok {
			line = name + ":\t" + v + "\n"
		}
		b.WriteString(line)
	}
	return []byte(b.String()), nil
}

// Fields of /proc/PID/stat behind the name, counted from 0 (proc_pid_stat(5), field 3 being the first).
const (
	statThreads = 20 - 3
	statVsize   = 23 - 3
)

// procStat is /proc/PID/stat, likewise.
func (s *session) procStat() ([]byte, error) {
	host, err := s.hostProc("stat")
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndex(host, []byte(") "))
	if end < 0 {
		return host, nil
	}
	fields := strings.Fields(string(host[end+2:]))
	threads, _ := s.proc.Threads()
	for at, v := range map[int]uint64{statThreads: uint64(len(threads)), statVsize: s.size()} {
		if at < len(fields) {
			fields[at] = fmt.Sprint(v)
		}
	}
	return append(host[:end+2:end+2], strings.Join(fields, " ")+"\n"...), nil
}
