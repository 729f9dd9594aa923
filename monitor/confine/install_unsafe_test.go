package confine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kmdev/monitor/kvm"

	"golang.org/x/sys/unix"
)

// attempt is something that a process under the filter does; what is forbidden ends it with SIGSYS.
type attempt struct {
	name string
	run  func() error
	dies bool
}

func call(nr, a0, a1, a2, a3, a4, a5 uintptr) func() error {
	return func() error {
		_, _, e := unix.Syscall6(nr, a0, a1, a2, a3, a4, a5)
		if e != 0 {
			return e
		}
		return nil
	}
}

const (
	private = unix.MAP_PRIVATE | unix.MAP_ANON
	nowhere = ^uintptr(0)
)

var attempts = []attempt{
	{"nothing", func() error { return nil }, false},
	{"collect", func() error { runtime.GC(); return nil }, false},
	{"new threads", func() error {
		var done sync.WaitGroup
		for range 4 {
			done.Go(func() { runtime.LockOSThread(); unix.Gettid() })
		}
		done.Wait()
		return nil
	}, false},
	{"mmap rw", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, private, nowhere, 0), false},
	{"mmap x", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, private, nowhere, 0), true},
	{"mprotect x", func() error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, private)
		if err != nil {
			return err
		}
		return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	}, true},
	{"pkey_mprotect", call(unix.SYS_PKEY_MPROTECT, 0, 0, 0, nowhere, 0, 0), true},
	{"shmat x", call(unix.SYS_SHMAT, nowhere, 0, 0o100000, 0, 0, 0), true},
	{"shmat", func() error { return expect(unix.SYS_SHMAT, unix.EINVAL, nowhere) }, false},
	{"personality", call(unix.SYS_PERSONALITY, 0x0400000, 0, 0, 0, 0, 0), true},
	{"ptrace", call(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0, 0, 0), true},
	{"bpf", call(unix.SYS_BPF, 0, 0, 0, 0, 0, 0), true},
	{"perf_event_open", call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0, 0), true},
	{"init_module", call(unix.SYS_INIT_MODULE, 0, 0, 0, 0, 0, 0), true},
	{"second filter", call(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, 2, 0, 0, 0, 0), true},
	{"prctl PR_SET_SYSCALL_USER_DISPATCH", call(unix.SYS_PRCTL, unix.PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0, 0), true},
	{"prctl PR_SET_SYSCALL_USER_DISPATCH", call(unix.SYS_PRCTL, unix.PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, 0, 0), true},
	{"ioctl, a request of KVM's that kmdev makes", func() error { return expect(unix.SYS_IOCTL, unix.EBADF, nowhere, uintptr(kvm.Requests()[0])) }, false},
	{"ioctl, one that it does not make", call(unix.SYS_IOCTL, nowhere, kvm.RequestType|0x60 /* KVM_CREATE_IRQCHIP */, 0, 0, 0, 0), true},
	{"ioctl of another device", func() error { return expect(unix.SYS_IOCTL, unix.EBADF, nowhere, unix.TIOCGWINSZ) }, false},
	{"x32", call(0x40000000+unix.SYS_GETPID, 0, 0, 0, 0, 0, 0), true},
	{"a number that Linux does not have", call(4000, 0, 0, 0, 0, 0, 0), true},
	{"execve keeps the filter", func() error { return unix.Exec("/proc/self/exe", []string{"test"}, []string{attemptEnv + "=ptrace"}) }, true},
	{"fork keeps the filter", func() error {
		var st unix.WaitStatus
		pid, err := syscall.ForkExec("/proc/self/exe", []string{"test"}, &syscall.ProcAttr{Env: []string{attemptEnv + "=bpf"}})
		if err != nil {
			return err
		}
		if _, err := unix.Wait4(pid, &st, 0, nil); err != nil || !st.Signaled() || st.Signal() != unix.SIGSYS {
			return fmt.Errorf("the child: %#x, %v", st, err)
		}
		return nil
	}, false},
}

func expect(nr uintptr, want unix.Errno, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != want {
		return fmt.Errorf("errno %v, want %v", e, want)
	}
	return nil
}

const (
	attemptEnv = "SECCOMP_TEST_ATTEMPT"
	userEnv    = "SECCOMP_TEST_UID"
	nobody     = 65534
)

func TestMain(m *testing.M) {
	if name := os.Getenv(attemptEnv); name != "" {
		os.Exit(inChild(name))
	}
	os.Exit(m.Run())
}

// inChild does one attempt in a process of its own.
func inChild(name string) int {
	installed := Active()
	if os.Getenv(userEnv) != "" {
		if err := loseRights(); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	begin := time.Now()
	if err := Install(); err != nil {
		fmt.Println(err)
		return 2
	}
	fmt.Printf("install took %v, was there before: %v, no_new_privs: %v\n", time.Since(begin), installed, ForcedNoNewPrivs())
	if !Active() {
		fmt.Println("not active")
		return 2
	}
	for _, a := range attempts {
		if a.name == name {
			if err := a.run(); err != nil {
				fmt.Println(err)
				return 1
			}
			return 0
		}
	}
	return 3
}

// loseRights makes this a process without CAP_SYS_ADMIN, in all threads.
func loseRights() error {
	if err := syscall.Setgid(nobody); err != nil {
		return err
	}
	return syscall.Setuid(nobody)
}

func attemptIn(t *testing.T, name string, env ...string) (string, syscall.WaitStatus) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), attemptEnv+"="+name), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func check(t *testing.T, a attempt, out string, st syscall.WaitStatus) {
	t.Helper()
	if a.dies {
		if !st.Signaled() || st.Signal() != syscall.SIGSYS {
			t.Errorf("ended with %#x, not by SIGSYS:\n%s", st, out)
		}
	} else if st != 0 {
		t.Errorf("ended with %#x:\n%s", st, out)
	}
}

func TestKernel(t *testing.T) {
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			out, st := attemptIn(t, a.name)
			check(t, a, out, st)
		})
	}
}

// TestWithoutRights: a user without CAP_SYS_ADMIN gets the filter too, with no_new_privs.
func TestWithoutRights(t *testing.T) {
	if os.Getuid() != 0 { // then TestKernel was it
		t.Skip("not root, so TestKernel has shown it")
	}
	for _, a := range attempts[:3] {
		t.Run(a.name, func(t *testing.T) {
			out, st := attemptIn(t, a.name, userEnv+"="+strconv.Itoa(nobody))
			check(t, a, out, st)
			if !strings.Contains(out, "no_new_privs: true") {
				t.Errorf("no_new_privs was not needed: %s", out)
			}
		})
	}
}

// TestNotTwice: a process that was started by one with a filter does not add another.
func TestNotTwice(t *testing.T) {
	out, st := attemptIn(t, "execve keeps the filter")
	if !st.Signaled() || strings.Count(out, "was there before: true") != 1 || strings.Count(out, "was there before: false") != 1 {
		t.Errorf("status %#x, output %s", st, out)
	}
}

func TestNotActive(t *testing.T) {
	if Active() {
		t.Error("the test itself has the filter")
	}
}
