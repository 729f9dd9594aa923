package sys

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// siblingVar makes the test binary another monitor.
const siblingVar = "SYS_TEST_SIBLING"

// sibling is another payload with its monitor: text at siblingText, a descriptor
// of the monitor's at siblingFD. It ends when its stdin does.
func sibling() {
	p := uintptr(usermem.Window + siblingText)
	_, _, e := unix.Syscall6(unix.SYS_MMAP, p, page, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uintptr(0), 0)
	if e != 0 || usermem.CopyOut(siblingText, []byte("sibling's text")) != 0 {
		os.Exit(4)
	}
	if err := unix.Dup3(1, siblingFD, unix.O_CLOEXEC); err != nil {
		os.Exit(5)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

const (
	siblingText = 0x5000_0000
	siblingFD   = 900
)

// startSibling returns its pid.
func startSibling(t *testing.T) int {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), siblingVar+"=1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("sibling says %q (%v)", line, err)
	}
	return c.Process.Pid
}

// TestSibling tries to get from one payload at the monitor of another.
func TestSibling(t *testing.T) {
	k := newTask(t)
	pid := startSibling(t)
	open := func(name string, flags int) uint64 {
		return k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/%d/%s", pid, name)), flags, 0)
	}
	wantErr(t, "mem", open("mem", unix.O_RDWR), unix.EACCES)
	wantErr(t, "task's mem", open(fmt.Sprintf("task/%d/mem", pid), unix.O_RDWR), unix.EACCES)
	wantErr(t, "pagemap", open("pagemap", unix.O_RDONLY), unix.EACCES)
	wantErr(t, "fd", open(fmt.Sprintf("fd/%d", siblingFD), unix.O_RDWR), unix.ENOENT)
	k.FD(open("fd/0", unix.O_PATH))
	k.FD(open("stat", unix.O_RDONLY))
	dir := k.FD(open("fd", unix.O_DIRECTORY))
	for _, name := range list(t, k, unix.SYS_GETDENTS64, 19, dir, 4096) {
		if name == fmt.Sprint(siblingFD) {
			t.Error("the sibling's descriptor is listed")
		}
	}
	if r := k.Do(unix.SYS_PIDFD_OPEN, pid, 0); hypercall.Errno(r) == 0 {
		wantErr(t, "pidfd_getfd", k.Do(unix.SYS_PIDFD_GETFD, k.FD(r), siblingFD, 0), unix.EBADF)
	}

	// Its payload's memory can be read, at the payload's addresses.
	buf := k.Map(1)
	there := func(at uint64) uint64 {
		return k.Do(unix.SYS_PROCESS_VM_READV, pid, iovec(k, uint64(buf), 14), 1, iovec(k, at, 14), 1, 0)
	}
	want(t, "process_vm_readv", there(siblingText), 14)
	if got := string(k.Read(buf, 14)); got != "sibling's text" {
		t.Errorf("read %q", got)
	}
	wantErr(t, "process_vm_readv of its monitor", there(0x400000), unix.EFAULT)
	wantErr(t, "process_vm_readv behind its window", there(usermem.Window+siblingText), unix.EFAULT)
}

// TestForeignProcess reads a process that is no monitor: its addresses are
// plain.
func TestForeignProcess(t *testing.T) {
	k := newTask(t)
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/%d/maps", c.Process.Pid)), 0, 0))
	var from uint64
	fmt.Sscanf(readFD(t, fd), "%x-", &from)
	buf := k.Map(1)
	want(t, "process_vm_readv", foreignRead(k, c.Process.Pid, buf, from), 4)
	if got := string(k.Read(buf, 4)); got != "\x7fELF" {
		t.Errorf("read %q", got)
	}
	wantErr(t, "process_vm_readv of nothing", foreignRead(k, c.Process.Pid, buf, 4096), unix.EFAULT)
	k.FD(k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/%d/mem", c.Process.Pid)), unix.O_RDONLY, 0))
}

func foreignRead(k *faketask.Task, pid int, buf gva, at uint64) uint64 {
	return k.Do(unix.SYS_PROCESS_VM_READV, pid, iovec(k, uint64(buf), 4), 1, iovec(k, at, 4), 1, 0)
}
