package gdbserver

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// procFiles are the files of /proc/PID that the host shows of the monitor and that clients want of the payload. The
// rest of /proc/PID is right as it is: the pid is the payload's, and so are the descriptors, the directories, the credentials.
var procFiles = sync.OnceValue(func() map[string]func(s *session) ([]byte, error) {
	return map[string]func(s *session) ([]byte, error){
		"maps":    (*session).procMaps,
		"smaps":   (*session).procSmaps,
		"auxv":    func(s *session) ([]byte, error) { return s.proc.Auxv() },
		"cmdline": (*session).procCmdline,
		"environ": (*session).procEnviron,
		"status":  (*session).procStatus,
		"stat":    (*session).procStat,
	}
})

// procName tells if a path is in the process's own /proc directory, and which file of it: /proc/PID/NAME, /proc/self/NAME
// or /proc/PID/task/TID/NAME.
func (s *session) procName(path string) (string, bool) {
	for _, dir := range []string{fmt.Sprintf("/proc/%d/", s.pid), "/proc/self/"} {
		name, ok := strings.CutPrefix(path, dir)
		if !ok {
			continue
		}
		if rest, ok := strings.CutPrefix(name, "task/"); ok {
			_, name, _ = strings.Cut(rest, "/")
		}
		return name, true
	}
	return "", false
}

// hostPath names the process's own directory where a path says "self".
func (s *session) hostPath(path string) string {
	if name, ok := strings.CutPrefix(path, "/proc/self/"); ok {
		return fmt.Sprintf("/proc/%d/%s", s.pid, name)
	}
	return path
}

// openFile opens a file as the payload sees it.
func (s *session) openFile(path string, flags int, mode os.FileMode) (file, error) {
	if name, ok := s.procName(path); ok && !s.ended {
		switch {
		case name == "exe":
			path = s.proc.Info().Exe
		case name == "mem":
			return &memFile{s.proc}, nil
		case procFiles()[name] != nil:
			content, err := procFiles()[name](s)
			if err != nil {
				return nil, err
			}
			return &textFile{bytes.NewReader(content)}, nil
		}
	}
	f, err := os.OpenFile(s.hostPath(path), flags|unix.O_NONBLOCK|unix.O_NOCTTY, mode)
	if err != nil {
		return nil, err
	}
	return hostFile{f}, nil
}

func (s *session) statFile(path string, stat func(string, *unix.Stat_t) error) (st unix.Stat_t, err error) {
	if name, ok := s.procName(path); ok && name == "exe" {
		path = s.proc.Info().Exe
	}
	err = stat(s.hostPath(path), &st)
	return st, err
}

func (s *session) readlink(path string) (string, error) {
	if name, ok := s.procName(path); ok && name == "exe" {
		return s.proc.Info().Exe, nil
	}
	return os.Readlink(s.hostPath(path))
}

type hostFile struct{ *os.File }

func (f hostFile) stat() (st unix.Stat_t, err error) {
	err = unix.Fstat(int(f.Fd()), &st)
	return st, err
}

// textFile is a file of /proc made by us.
type textFile struct{ *bytes.Reader }

func (*textFile) WriteAt([]byte, int64) (int, error) { return 0, unix.EACCES }
func (*textFile) Close() error                       { return nil }
func (*textFile) stat() (unix.Stat_t, error)         { return statOfProc(0o444), nil }

// memFile is /proc/PID/mem: the payload's memory by its own addresses.
type memFile struct{ proc target.Process }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return memResult(f.proc.ReadMemory(uint64(off), p))
}
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	return memResult(f.proc.WriteMemory(uint64(off), p))
}
func (*memFile) Close() error               { return nil }
func (*memFile) stat() (unix.Stat_t, error) { return statOfProc(0o600), nil }

func memResult(n int, err error) (int, error) {
	if err != nil {
		err = unix.EIO
	}
	return n, err
}

// statOfProc is what stat says of a file in /proc: no size.
func statOfProc(mode uint32) unix.Stat_t {
	now := unix.Timespec{Sec: time.Now().Unix()}
	return unix.Stat_t{Mode: unix.S_IFREG | mode, Nlink: 1, Blksize: 1024, Atim: now, Mtim: now, Ctim: now}
}

func (s *session) procMaps() ([]byte, error) {
	maps, err := s.proc.Maps()
	var b bytes.Buffer
	for i := range maps {
		b.WriteString(maps[i].String() + "\n")
	}
	return b.Bytes(), err
}

func (s *session) procCmdline() ([]byte, error) {
	var b bytes.Buffer
	for _, a := range s.proc.Info().Args {
		b.WriteString(a)
		b.WriteByte(0)
	}
	return b.Bytes(), nil
}

// hostProc reads a file of the monitor's /proc directory.
func (s *session) hostProc(name string) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.pid, name))
}

// procEnviron is the monitor's environment without what is only the monitor's.
func (s *session) procEnviron() ([]byte, error) {
	env, err := s.hostProc("environ")
	var b bytes.Buffer
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if len(entry) > 0 && !bytes.HasPrefix(entry, []byte("KMDEV_")) {
			b.Write(entry)
			b.WriteByte(0)
		}
	}
	return b.Bytes(), err
}
