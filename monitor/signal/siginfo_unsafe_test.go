package signal

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestHeaders compares this package's numbers with the C headers'.
func TestHeaders(t *testing.T) {
	var c strings.Builder
	c.WriteString("#define _GNU_SOURCE\n#include <signal.h>\n#include <stddef.h>\n")
	is := func(expr string, value int64) {
		fmt.Fprintf(&c, "_Static_assert((long)(%s) == %dL, %q);\n", expr, value, expr)
	}
	for name, off := range map[string]int{
		"si_signo": offSigno, "si_errno": offErrno, "si_code": offCode, "si_pid": offPid, "si_uid": offUid, "si_addr": offPid,
		"si_timerid": offPid, "si_overrun": offUid, "si_band": offPid, "si_fd": offValue, "si_status": offValue,
		"si_value": offValue, "si_addr_lsb": offValue, "si_pkey": offPkey,
	} {
		is("offsetof(siginfo_t, "+name+")", int64(off))
	}
	for name, v := range map[string]int64{
		"sizeof(siginfo_t)": int64(len(Siginfo{})), "SI_USER": SIUser, "SI_KERNEL": SIKernel, "SI_QUEUE": SIQueue, "SI_TIMER": SITimer,
		"SI_MESGQ": SIMesgQ, "SI_ASYNCIO": SIAsyncIO, "SI_SIGIO": SISigIO, "SI_TKILL": SITkill,
		"ILL_ILLOPC": IllOpc, "ILL_ILLOPN": IllOpn, "FPE_INTDIV": FPEInt, "FPE_FLTDIV": FPEDiv, "FPE_FLTOVF": FPEOvf,
		"FPE_FLTUND": FPEUnd, "FPE_FLTRES": FPERes, "FPE_FLTINV": FPEInv, "SEGV_MAPERR": SegvMap, "SEGV_ACCERR": SegvAcc,
		"SEGV_PKUERR": SegvPku, "BUS_ADRALN": BusAln, "BUS_ADRERR": BusAdr, "BUS_MCEERR_AR": BusMceAR,
		"TRAP_BRKPT": TrapBrk, "TRAP_TRACE": TrapStep, "TRAP_HWBKPT": TrapHW,
		"CLD_EXITED": ChildExited, "CLD_KILLED": ChildKilled, "CLD_DUMPED": ChildDumped, "CLD_TRAPPED": ChildTrapped,
		"CLD_STOPPED": ChildStopped, "CLD_CONTINUED": ChildContinued,
		"SA_NOCLDSTOP": SANoCldStop, "SA_NOCLDWAIT": SANoCldWait, "SA_SIGINFO": SASigInfo, "SA_ONSTACK": SAOnStack,
		"SA_RESTART": SARestart, "SA_NODEFER": SANoDefer, "(unsigned)SA_RESETHAND": SAResetHand,
		"SS_ONSTACK": SSOnStack, "SS_DISABLE": SSDisable, "_NSIG-1": Max,
	} {
		is(name, v)
	}
	for sig := 1; sig < minRT; sig++ {
		is(Name(sig), int64(sig))
	}
	path := filepath.Join(t.TempDir(), "headers.c")
	if err := os.WriteFile(path, []byte(c.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("gcc", "-fsyntax-only", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
}

// TestSiginfoIsTheKernels has the kernel make siginfos, and compares all 128 bytes with the constructors'.
func TestSiginfoIsTheKernels(t *testing.T) {
	const sig = 50
	blockHere(t, Of(sig))
	pid, tid, uid := unix.Getpid(), unix.Gettid(), uint32(unix.Getuid())
	check := func(name string, want Siginfo) {
		t.Helper()
		if got := waitSignal(t, Of(sig)); got != want {
			t.Errorf("%s:\nkernel      % x\nconstructor % x", name, got[:48], want[:48])
		}
	}
	if err := unix.Tgkill(pid, tid, sig); err != nil {
		t.Fatal(err)
	}
	check("tgkill", UserInfo(sig, SITkill, pid, uid))

	queued := QueueInfo(sig, pid, uid, 0x1122_3344_5566_7788)
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(tid), sig, uintptr(unsafe.Pointer(&queued)), 0, 0); e != 0 {
		t.Fatal(e)
	}
	check("rt_tgsigqueueinfo", queued)

	event := struct {
		value       uint64
		sig, notify int32
		tid         int32
		_           [44]byte
	}{value: 77, sig: sig, notify: 4, tid: int32(tid)} // SIGEV_THREAD_ID
	var id int32
	if _, _, e := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&id))); e != 0 {
		t.Fatal(e)
	}
	spec := [4]int64{0, 0, 0, 1}
	if _, _, e := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
	got := waitSignal(t, Of(sig))
	if want := TimerInfo(sig, int(id), 0, 77); !timerLike(&got, &want) {
		t.Errorf("timer:\nkernel      % x\nconstructor % x", got[:48], want[:48])
	}
	unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0)
}

// timerLike compares what user space may look at: the kernel leaves its own words behind si_value.
func timerLike(a, b *Siginfo) bool {
	return a.Signo() == b.Signo() && a.Code() == b.Code() && a.TimerID() == b.TimerID() && a.Overrun() == b.Overrun() && a.Value() == b.Value()
}

// blockHere blocks signals in the test's thread, which ends with the test.
func blockHere(t *testing.T, s Set) {
	t.Helper()
	runtime.LockOSThread()
	set := unix.Sigset_t{Val: [16]uint64{uint64(s)}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		t.Fatal(err)
	}
}

func waitSignal(t *testing.T, s Set) (info Siginfo) {
	t.Helper()
	timeout := unix.NsecToTimespec(int64(10 * time.Second))
	for {
		_, _, e := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&s)), uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&timeout)), 8, 0, 0)
		if e == 0 {
			return info
		}
		if e != unix.EINTR {
			t.Fatal(e)
		}
	}
}

func TestSiginfoAccessors(t *testing.T) {
	i := ChildInfo(int(unix.SIGCHLD), ChildKilled, 42, 1000, 9)
	if i.Signo() != 17 || i.Errno() != 0 || i.Code() != ChildKilled || i.Pid() != 42 || i.Uid() != 1000 || i.Status() != 9 {
		t.Errorf("% x", i[:48])
	}
	i = FaultInfo(int(unix.SIGSEGV), SegvAcc, 1<<63|5)
	if i.Signo() != 11 || i.Code() != SegvAcc || i.Addr() != 1<<63|5 {
		t.Errorf("% x", i[:48])
	}
	var io Siginfo
	le.PutUint64(io[offPid:], 0xffff_ffff_ffff_fffe)
	binary.LittleEndian.PutUint32(io[offValue:], 3)
	if io.Band() != -2 || io.FD() != 3 {
		t.Errorf("band %d, fd %d", io.Band(), io.FD())
	}
}
