package sys

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// procOpenText puts the payload's view in place of a file of /proc/PID, if there
// is one: a snapshot, under the same descriptor.
func procOpenText(t task, proc *procMount, fd int, ref *procRef, h how) uint64 {
	text, ok := t.Process().ProcFile(t, proc.file(t, fd, ref))
	if !ok {
		unix.Seek(fd, 0, unix.SEEK_SET)
		return uint64(fd)
	}
	snap, e := snapshot(proc, ref.tail[0], text)
	if e == 0 {
		e = errnoOf0(unix.Dup3(snap, fd, int(h.flags&unix.O_CLOEXEC)))
		closeFD(snap)
	}
	if e != 0 {
		closeFD(fd)
		return fail(e)
	}
	return uint64(fd)
}

// file is what the process must know of an open file to give its text.
func (p *procMount) file(t task, fd int, ref *procRef) *hypercall.ProcFile {
	f := &hypercall.ProcFile{Name: ref.tail[0], Own: ref.own, Pid: ref.pid, Tid: ref.tid, Relative: ref.rel}
	f.Host = func() []byte {
		text, _ := readAll(fd)
		return text
	}
	f.Read = func(name string) []byte {
		text, _ := readFile(p.fd, ref.dir()+"/"+name)
		return text
	}
	f.Open = func(name string) (int, error) {
		return unix.Openat(p.fd, ref.dir()+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	f.MaxFD = func() int { return p.maxFD(ref.dir(), ref.fdLimit(t)) }
	return f
}

// maxFD is the highest descriptor of a process below limit.
func (p *procMount) maxFD(dir string, limit int) int {
	fd, err := unix.Openat(p.fd, dir+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	defer unix.Close(fd)
	highest := -1
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if n <= 0 || err != nil {
			return highest
		}
		var names []string
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		for _, name := range names {
			if i, err := strconv.Atoi(name); err == nil && i < limit && i != fd {
				highest = max(highest, i)
			}
		}
	}
}
