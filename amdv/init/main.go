// Command init is process 1 of the emulated machine: it loads KVM, runs the
// cases of amdv.CasesFile, sends their results and powers the machine off.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/amdv"
)

func main() {
	port, err := setUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	} else if err := runAll(port); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	if port != nil {
		fmt.Fprintln(port, amdv.Done)
		unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1) // drain
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func setUp() (*os.File, error) {
	mounts := []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"},
		{"tmpfs", "/tmp", "tmpfs"},
	}
	for _, m := range mounts {
		os.MkdirAll(m.target, 0o755)
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	os.MkdirAll("/dev/shm", 0o777)
	os.MkdirAll("/dev/pts", 0o755)
	for _, m := range []struct{ kind, target string }{{"tmpfs", "/dev/shm"}, {"devpts", "/dev/pts"}} {
		if err := unix.Mount(m.kind, m.target, m.kind, 0, ""); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	os.Symlink("/proc/self/fd", "/dev/fd")
	os.Setenv("PATH", "/bin")
	if err := loopbackUp(); err != nil {
		return nil, err
	}
	port, err := openPort()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"irqbypass", "ccp", "kvm", "kvm-amd"} {
		if err := loadModule(filepath.Join("/modules", name+".ko")); err != nil {
			return port, fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return port, err
	}
	return port, nil
}

// openPort opens the second serial line raw: no newline translation, no echo.
func openPort() (*os.File, error) {
	port, err := os.OpenFile(amdv.ResultPort, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	return port, unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, t)
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

func runAll(port *os.File) error {
	data, err := os.ReadFile(amdv.CasesFile)
	if err != nil {
		return err
	}
	var cases []amdv.Case
	if err := json.Unmarshal(data, &cases); err != nil {
		return err
	}
	out := json.NewEncoder(port)
	for _, c := range cases {
		fmt.Println("case", c.Name)
		if err := out.Encode(do(c)); err != nil {
			return err
		}
	}
	return nil
}

func do(c amdv.Case) amdv.Result {
	r := amdv.Result{Name: c.Name}
	limit := time.Duration(c.Seconds) * time.Second
	switch {
	case c.Tool != nil:
		r.Kmdev = run(limit, c.Tool)
	case c.Debug != nil:
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var err error
		if r.Transcript, err = debug(ctx, c.Argv, *c.Debug); err != nil {
			r.Error = err.Error()
		}
	default:
		r.Native = run(limit, c.Argv)
		r.Kmdev = run(limit, append([]string{amdv.KmdevFile, "run", "--"}, c.Argv...))
	}
	return r
}

func run(limit time.Duration, argv []string) amdv.Run {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = []string{"FIXTURE=1", "PATH=/bin"}
	start := time.Now()
	err := cmd.Run()
	r := amdv.Run{Stdout: stdout.String(), Stderr: stderr.String(), Milliseconds: time.Since(start).Milliseconds()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.Status = "timeout"
	case err != nil && !errors.As(err, &exit):
		r.Status = err.Error()
	default:
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		r.Status = fmt.Sprintf("exit %d", ws.ExitStatus())
		if ws.Signaled() {
			r.Status = fmt.Sprintf("signal %d", ws.Signal())
		}
	}
	return r
}
