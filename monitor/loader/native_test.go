package loader

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// native is a program that the kernel has just loaded, stopped before its first instruction.
type native struct {
	pid  int
	regs unix.PtraceRegs
	maps []nativeVMA
	auxv []byte
	stat []uint64 // fields of /proc/PID/stat from the third on, by number as in proc_pid_stat(5)
	mem  *os.File
}

type nativeVMA struct {
	start, end uint64
	prot       int
	off        int64
	name       string
}

// verdict is what became of a native execve: an errno, or a kill after the point of no return, or neither.
type verdict struct {
	errno unix.Errno
	fatal bool
}

func (v verdict) String() string {
	switch {
	case v.fatal:
		return "killed while loading"
	case v.errno == 0:
		return "runs"
	}
	return unix.ErrnoName(v.errno)
}

const addrNoRandomize = 0x40000

// execNative has a child execve path without address randomization, and calls look while it is stopped. The child does
// not run an instruction of the program.
func execNative(t testing.TB, path string, argv, env []string, look func(*native)) verdict {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_PERSONALITY, old|addrNoRandomize, 0, 0)
	defer func() { _, _, _ = unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0) }()

	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: env, Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL}})
	if err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			t.Fatalf("fork and exec of %s: %v", path, err)
		}
		return verdict{errno: errno}
	}
	defer func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil || ws.Exited() || ws.Signaled() {
				return
			}
		}
	}()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatalf("wait for %s: %v", path, err)
	}
	if !ws.Stopped() || ws.StopSignal() != unix.SIGTRAP {
		return verdict{fatal: true}
	}
	if look != nil {
		look(inspect(t, pid))
	}
	return verdict{}
}

func inspect(t testing.TB, pid int) *native {
	t.Helper()
	n := &native{pid: pid}
	if err := unix.PtraceGetRegs(pid, &n.regs); err != nil {
		t.Fatalf("registers: %v", err)
	}
	proc := fmt.Sprintf("/proc/%d/", pid)
	n.auxv = mustRead(t, proc+"auxv")
	for _, line := range strings.Split(strings.TrimSpace(string(mustRead(t, proc+"maps"))), "\n") {
		n.maps = append(n.maps, parseMapsLine(t, line))
	}
	stat := string(mustRead(t, proc+"stat"))
	n.stat = make([]uint64, 3, 60)
	for _, f := range strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) {
		v, _ := strconv.ParseUint(f, 10, 64)
		n.stat = append(n.stat, v)
	}
	mem, err := os.Open(proc + "mem")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	n.mem = mem
	return n
}

func parseMapsLine(t testing.TB, line string) nativeVMA {
	t.Helper()
	var v nativeVMA
	f := strings.Fields(line)
	if _, err := fmt.Sscanf(f[0], "%x-%x", &v.start, &v.end); err != nil {
		t.Fatalf("maps line %q: %v", line, err)
	}
	for i, bit := range []int{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if f[1][i] != '-' {
			v.prot |= bit
		}
	}
	v.off, _ = strconv.ParseInt(f[2], 16, 64)
	if len(f) > 5 {
		v.name = strings.Join(f[5:], " ")
	}
	return v
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read gives n bytes of the child's memory.
func (n *native) read(t testing.TB, addr, length uint64) []byte {
	t.Helper()
	b := make([]byte, length)
	if _, err := n.mem.ReadAt(b, int64(addr)); err != nil {
		t.Fatalf("native memory at %#x: %v", addr, err)
	}
	return b
}

// pages gives the child's pages without what the kernel itself adds (stack, vDSO, vsyscall).
func (n *native) pages() map[uint64]page {
	out := map[uint64]page{}
	for _, v := range n.maps {
		if strings.HasPrefix(v.name, "[") && v.name != "[heap]" {
			continue
		}
		for a := v.start; a < v.end; a += pageSize {
			p := page{prot: v.prot}
			if strings.HasPrefix(v.name, "/") {
				p.file, p.off = true, v.off+int64(a-v.start)
			}
			out[a] = p
		}
	}
	return out
}

func (n *native) stackVMA(t testing.TB) nativeVMA {
	t.Helper()
	for _, v := range n.maps {
		if v.name == "[stack]" {
			return v
		}
	}
	t.Fatal("no [stack] in the native maps")
	return nativeVMA{}
}

// auxPairs decodes a vector without its AT_NULL.
func auxPairs(vec []byte) (pairs [][2]uint64) {
	for len(vec) >= 16 && le.Uint64(vec) != atNull {
		pairs = append(pairs, [2]uint64{le.Uint64(vec), le.Uint64(vec[8:])})
		vec = vec[16:]
	}
	return pairs
}

func auxValue(vec []byte, key uint64) uint64 {
	for _, p := range auxPairs(vec) {
		if p[0] == key {
			return p[1]
		}
	}
	return 0
}

// firstDiff is where two byte strings part.
func firstDiff(a, b []byte) int {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	if len(b) > len(a) {
		return len(a)
	}
	return -1
}
