package gdbserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// The file packets show the host's files as the payload sees them: a payload's files are the host's, but for /proc (procfs.go).
var filePackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"vFile":           {serve: vFile, late: true},
		"vMustReplyEmpty": {serve: func(*session, *args) ([]byte, error) { return nil, errUnknown }, late: true},
	}
})

// operations of vFile ("Host I/O Packets"). They return a result and an attachment.
var fileOperations = sync.OnceValue(func() map[string]func(s *session, a *args) (int64, []byte, error) {
	return map[string]func(s *session, a *args) (int64, []byte, error){
		"open":     fileOpen,
		"close":    fileClose,
		"pread":    filePread,
		"pwrite":   filePwrite,
		"fstat":    fileFstat,
		"stat":     fileStat,
		"lstat":    fileLstat,
		"unlink":   fileUnlink,
		"readlink": fileReadlink,
		"setfs":    fileSetfs,
	}
})

// vFile: vFile:OPERATION:ARGUMENTS → F RESULT[,ERRNO][;ATTACHMENT].
func vFile(s *session, a *args) ([]byte, error) {
	a.want(":")
	op := fileOperations()[string(a.until(':'))]
	if op == nil {
		return nil, errUnknown
	}
	result, attachment, err := op(s, a)
	switch {
	case errors.Is(err, errSyntax):
		return nil, err
	case err != nil:
		return fmt.Appendf(nil, "F-1,%x", remoteErrno(err)), nil
	}
	out := strconv.AppendInt([]byte("F"), result, 16)
	if attachment != nil {
		out = appendEscaped(append(out, ';'), attachment)
	}
	return out, nil
}

// remoteErrnos are the protocol's own numbers ("errno Values") where they are not Linux's.
var remoteErrnos = sync.OnceValue(func() map[unix.Errno]int {
	return map[unix.Errno]int{unix.ENAMETOOLONG: 91, unix.ENOSYS: 88}
})

// The numbers that the protocol has; others are EUNKNOWN.
var protocolErrnos = sync.OnceValue(func() map[unix.Errno]bool {
	return map[unix.Errno]bool{
		unix.EPERM: true, unix.ENOENT: true, unix.EINTR: true, unix.EIO: true, unix.EBADF: true, unix.EACCES: true, unix.EFAULT: true,
		unix.EBUSY: true, unix.EEXIST: true, unix.ENODEV: true, unix.ENOTDIR: true, unix.EISDIR: true, unix.EINVAL: true,
		unix.ENFILE: true, unix.EMFILE: true, unix.EFBIG: true, unix.ENOSPC: true, unix.ESPIPE: true, unix.EROFS: true,
	}
})

const remoteUnknown = 9999

func remoteErrno(err error) int {
	var e unix.Errno
	if !errors.As(err, &e) {
		return remoteUnknown
	}
	if n, ok := remoteErrnos()[e]; ok {
		return n
	}
	if protocolErrnos()[e] {
		return int(e)
	}
	return remoteUnknown
}

// openFlags translates the protocol's flags ("Open Flags").
var openFlags = []struct{ remote, host int }{
	{0x1, os.O_WRONLY}, {0x2, os.O_RDWR}, {0x8, os.O_APPEND}, {0x200, os.O_CREATE}, {0x400, os.O_TRUNC}, {0x800, os.O_EXCL},
}

// file is an open file: the host's, or one of the payload's /proc.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	stat() (unix.Stat_t, error)
}

// maxFiles bounds what a client can keep open.
const maxFiles = 256

// fileTable holds the files that a client has open, by number.
type fileTable struct {
	open map[int]file
	next int
}

func (t *fileTable) add(f file) (int64, error) {
	if len(t.open) >= maxFiles {
		f.Close()
		return 0, unix.EMFILE
	}
	if t.open == nil {
		t.open = map[int]file{}
	}
	t.next++
	t.open[t.next] = f
	return int64(t.next), nil
}

func (t *fileTable) get(fd int) (file, error) {
	f := t.open[fd]
	if f == nil {
		return nil, unix.EBADF
	}
	return f, nil
}

func (t *fileTable) closeAll() {
	for fd, f := range t.open {
		f.Close()
		delete(t.open, fd)
	}
}

// opened gives the open file that a packet, which must end here, names.
func (s *session) opened(a *args, fd int) (file, error) {
	if !a.done() {
		return nil, errSyntax
	}
	return s.files.get(fd)
}

// path takes a hex-encoded file name that sep or the packet's end ends.
func (a *args) path(last bool) string {
	raw := []byte(nil)
	if last {
		raw = a.rest()
	} else {
		raw = a.until(',')
	}
	p, ok := decodeHex(raw)
	if !ok || len(p) == 0 {
		a.fail()
	}
	return string(p)
}

func fileOpen(s *session, a *args) (int64, []byte, error) {
	path := a.path(false)
	flags := a.length(0xffff)
	a.want(",")
	mode := a.length(0o7777)
	if !a.done() {
		return 0, nil, errSyntax
	}
	host := os.O_RDONLY
	for _, f := range openFlags {
		if flags&f.remote != 0 {
			host |= f.host
		}
	}
	f, err := s.openFile(path, host, os.FileMode(mode)&os.ModePerm)
	if err != nil {
		return 0, nil, err
	}
	fd, err := s.files.add(f)
	return fd, nil, err
}

func fileClose(s *session, a *args) (int64, []byte, error) {
	fd := a.length(1<<31 - 1)
	f, err := s.opened(a, fd)
	if err != nil {
		return 0, nil, err
	}
	delete(s.files.open, fd)
	return 0, nil, f.Close()
}

// filePread: FD,COUNT,OFFSET. At the end of the file the result is 0.
func filePread(s *session, a *args) (int64, []byte, error) {
	fd := a.length(1<<31 - 1)
	a.want(",")
	n := min(a.hex(), maxRead)
	a.want(",")
	offset := a.length(1<<63 - 1)
	f, err := s.opened(a, fd)
	if err != nil {
		return 0, nil, err
	}
	p := make([]byte, n)
	got, err := f.ReadAt(p, int64(offset))
	if got == 0 && err != nil && err != io.EOF {
		return 0, nil, err
	}
	return int64(got), p[:got], nil
}

// filePwrite: FD,OFFSET,DATA.
func filePwrite(s *session, a *args) (int64, []byte, error) {
	fd := a.length(1<<31 - 1)
	a.want(",")
	offset := a.length(1<<63 - 1)
	a.want(",")
	data := a.binary()
	f, err := s.opened(a, fd)
	if err != nil {
		return 0, nil, err
	}
	n, err := f.WriteAt(data, int64(offset))
	if n > 0 {
		err = nil
	}
	return int64(n), nil, err
}

func fileFstat(s *session, a *args) (int64, []byte, error) {
	fd := a.length(1<<31 - 1)
	f, err := s.opened(a, fd)
	if err != nil {
		return 0, nil, err
	}
	return statReply(f.stat())
}

func fileStat(s *session, a *args) (int64, []byte, error) {
	path := a.path(true)
	if !a.done() {
		return 0, nil, errSyntax
	}
	return statReply(s.statFile(path, unix.Stat))
}

func fileLstat(s *session, a *args) (int64, []byte, error) {
	path := a.path(true)
	if !a.done() {
		return 0, nil, errSyntax
	}
	return statReply(s.statFile(path, unix.Lstat))
}

// statReply is the protocol's struct stat, big-endian ("struct stat").
func statReply(st unix.Stat_t, err error) (int64, []byte, error) {
	if err != nil {
		return 0, nil, err
	}
	var p []byte
	for _, v := range []uint64{st.Dev, st.Ino, uint64(st.Mode), st.Nlink, uint64(st.Uid), uint64(st.Gid), st.Rdev} {
		p = binary.BigEndian.AppendUint32(p, uint32(v))
	}
	for _, v := range []int64{st.Size, st.Blksize, st.Blocks} {
		p = binary.BigEndian.AppendUint64(p, uint64(v))
	}
	for _, v := range []int64{st.Atim.Sec, st.Mtim.Sec, st.Ctim.Sec} {
		p = binary.BigEndian.AppendUint32(p, uint32(v))
	}
	return int64(len(p)), p, nil
}

func fileUnlink(_ *session, a *args) (int64, []byte, error) {
	path := a.path(true)
	if !a.done() {
		return 0, nil, errSyntax
	}
	return 0, nil, unix.Unlink(path)
}

func fileReadlink(s *session, a *args) (int64, []byte, error) {
	path := a.path(true)
	if !a.done() {
		return 0, nil, errSyntax
	}
	target, err := s.readlink(path)
	return int64(len(target)), []byte(target), err
}

// fileSetfs: PID selects whose file system the next paths mean; 0 is the server's. Both are the host's, and /proc/PID
// names its process itself.
func fileSetfs(s *session, a *args) (int64, []byte, error) {
	pid := a.id()
	if !a.done() {
		return 0, nil, errSyntax
	}
	if !s.isOurs(pid) {
		return 0, nil, unix.ESRCH
	}
	return 0, nil, nil
}
