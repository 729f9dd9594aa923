package gdbserver

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// remoteFiles does what gdb's "remote put", "remote get" and "remote delete" do.
type remoteFiles struct{ *client }

// call gives a vFile reply's result, errno and attachment.
func (c remoteFiles) call(packet string) (result int64, errno int64, data string) {
	c.t.Helper()
	reply := c.ask("vFile:" + packet)
	head, data, _ := strings.Cut(reply, ";")
	if !strings.HasPrefix(head, "F") {
		c.t.Fatalf("%s → %q", packet, reply)
	}
	number, code, _ := strings.Cut(head[1:], ",")
	result, err := strconv.ParseInt(number, 16, 64)
	if err != nil {
		c.t.Fatalf("%s → %q", packet, reply)
	}
	if code != "" {
		errno, _ = strconv.ParseInt(code, 16, 64)
	}
	raw, ok := unescape([]byte(data))
	if !ok {
		c.t.Fatalf("%s → %q", packet, reply)
	}
	return result, errno, string(raw)
}

func (c remoteFiles) open(path string, flags, mode int) (fd, errno int64) {
	c.t.Helper()
	fd, errno, _ = c.call(fmt.Sprintf("open:%x,%x,%x", path, flags, mode))
	return fd, errno
}

// read gives a file's content by pieces of 1,000 bytes.
func (c remoteFiles) read(path string) string {
	c.t.Helper()
	fd, errno := c.open(path, 0, 0)
	if fd < 0 {
		c.t.Fatalf("%s: errno %d", path, errno)
	}
	var all string
	for {
		n, errno, data := c.call(fmt.Sprintf("pread:%x,3e8,%x", fd, len(all)))
		if n < 0 || int(n) != len(data) {
			c.t.Fatalf("%s: %d bytes, errno %d, with %d", path, n, errno, len(data))
		}
		if n == 0 {
			c.call(fmt.Sprintf("close:%x", fd))
			return all
		}
		all += data
	}
}

func TestRemoteFiles(t *testing.T) {
	cl, _ := connected(t, newFake())
	c := remoteFiles{cl}
	path := filepath.Join(t.TempDir(), "a file")
	content := strings.Repeat("binary }#$*\x00\xff and long ", 200)

	const writeCreate, exclusive = 1 | 0x200 | 0x400, 0x800
	fd, errno := c.open(path, writeCreate, 0o640)
	if fd < 0 {
		t.Fatalf("open for writing: errno %d", errno)
	}
	if n, errno, _ := c.call(fmt.Sprintf("pwrite:%x,0,%s", fd, appendEscaped(nil, []byte(content)))); int(n) != len(content) {
		t.Errorf("pwrite: %d, errno %d", n, errno)
	}
	if n, errno, _ := c.call(fmt.Sprintf("pread:%x,10,0", fd)); n != -1 || errno != 9 {
		t.Errorf("reading a file open for writing: %d, errno %d", n, errno)
	}
	c.call(fmt.Sprintf("close:%x", fd))
	if n, errno, _ := c.call(fmt.Sprintf("close:%x", fd)); n != -1 || errno != 9 {
		t.Errorf("closing twice: %d, errno %d", n, errno)
	}
	if got := c.read(path); got != content {
		t.Errorf("read %d bytes back, want %d", len(got), len(content))
	}
	if fd, errno := c.open(path, writeCreate|exclusive, 0o640); fd != -1 || errno != 17 {
		t.Errorf("exclusive creation: %d, errno %d", fd, errno)
	}
	n, _, st := c.call(fmt.Sprintf("stat:%x", path))
	if n != 64 || len(st) != 64 {
		t.Fatalf("stat: %d, %d bytes", n, len(st))
	}
	if mode, size := binary.BigEndian.Uint32([]byte(st[8:])), binary.BigEndian.Uint64([]byte(st[28:])); mode != 0o100640 || size != uint64(len(content)) {
		t.Errorf("stat: mode %o, size %d", mode, size)
	}
	link := path + " link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, _, to := c.call(fmt.Sprintf("readlink:%x", link)); to != path {
		t.Errorf("readlink: %q", to)
	}
	if _, _, st := c.call(fmt.Sprintf("lstat:%x", link)); binary.BigEndian.Uint32([]byte(st[8:]))>>12 != 0o12 {
		t.Error("lstat: not a link")
	}
	if n, _, _ := c.call(fmt.Sprintf("unlink:%x", path)); n != 0 {
		t.Error("unlink failed")
	}
	for packet, want := range map[string]int64{
		fmt.Sprintf("open:%x,0,0", path): 2, fmt.Sprintf("unlink:%x", path): 2, fmt.Sprintf("stat:%x", path): 2, fmt.Sprintf("readlink:%x", path): 2,
		fmt.Sprintf("open:%x,0,0", strings.Repeat("x", 300)): 91, fmt.Sprintf("open:%x,1,0", os.TempDir()): 21, "fstat:77": 9,
	} {
		if n, errno, _ := c.call(packet); n != -1 || errno != want {
			t.Errorf("%s: %d, errno %d, want %d", packet, n, errno, want)
		}
	}
	for packet, reply := range map[string]string{
		"vFile:open:zz,0,0": "E.malformed packet", "vFile:open:2f": "E.malformed packet", "vFile:close:": "E.malformed packet",
		"vFile:dance:1": "", "vFile": "", "vFile:pread:1,2": "E.malformed packet",
	} {
		if got := c.ask(packet); got != reply {
			t.Errorf("%s → %q, want %q", packet, got, reply)
		}
	}
}

// TestFilesAreBounded: a client can't take all of the server's descriptors, and what it leaves open is closed.
func TestFilesAreBounded(t *testing.T) {
	dial, _ := start(t, newFake())
	cl := dial()
	cl.hello()
	c := remoteFiles{cl}
	before := openFiles(t)
	opened := 0
	for {
		fd, errno := c.open("/dev/null", 0, 0)
		if fd < 0 {
			if errno != 24 {
				t.Errorf("errno %d", errno)
			}
			break
		}
		opened++
	}
	if opened != maxFiles {
		t.Errorf("%d files could be opened", opened)
	}
	cl.conn.Close()
	cl = dial()
	cl.hello() // the first session has ended
	if after := openFiles(t); after > before+1 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestProcFiles: /proc of the payload is the payload's, whatever process really has that pid.
func TestProcFiles(t *testing.T) {
	f := newFake()
	cl, _ := connected(t, f)
	c := remoteFiles{cl}
	const maps = "00400000-00401000 r-xp 00000000 00:00 0                                  /bin/fake\n" +
		"00600000-00602000 rw-p 00000000 00:00 0                                  /bin/fake\n"
	for path, want := range map[string]string{
		"/proc/100/maps": maps, "/proc/100/task/101/maps": maps, "/proc/self/maps": maps,
		"/proc/100/cmdline": "fake\x00an arg\x00",
		"/proc/100/auxv":    "\x09" + strings.Repeat("\x00", 9) + "@" + strings.Repeat("\x00", 21),
	} {
		if got := c.read(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if _, _, exe := c.call(fmt.Sprintf("readlink:%x", "/proc/100/exe")); exe != "/bin/fake" {
		t.Errorf("/proc/100/exe leads to %q", exe)
	}
	if fd, errno := c.open("/proc/100/smaps", 0, 0); fd != -1 || errno != 2 {
		t.Errorf("smaps without figures: %d, errno %d", fd, errno)
	}
	fd, _ := c.open("/proc/100/mem", 2, 0)
	if n, _, data := c.call(fmt.Sprintf("pread:%x,4,400010", fd)); n != 4 || data != "\x10\x11\x12\x13" {
		t.Errorf("mem: %d %q", n, data)
	}
	if n, _, _ := c.call(fmt.Sprintf("pwrite:%x,600000,abcd", fd)); n != 4 {
		t.Errorf("writing mem: %d", n)
	}
	c.want("m600000,4", hex.EncodeToString([]byte("abcd")))
	if n, errno, _ := c.call(fmt.Sprintf("pread:%x,4,10", fd)); n != -1 || errno != 9999 && errno != 5 {
		t.Errorf("mem where nothing is: %d, errno %d", n, errno)
	}
	if n, _, _ := c.call("setfs:64"); n != 0 {
		t.Error("setfs of the process failed")
	}
	if n, _, _ := c.call("setfs:63"); n != -1 {
		t.Error("setfs of a stranger worked")
	}
}
