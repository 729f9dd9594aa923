package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kmdev/fixtures"
)

// staged is a run of the fixture scale, which waits at each of its stages.
type staged struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log strings.Builder
}

// startScale runs scale natively or, if vm is set, under kmdev.
func startScale(t *testing.T, vm bool, args ...string) *staged {
	t.Helper()
	argv := append([]string{fixtures.Build(t, "scale", fixtures.GlibcDynamic)}, args...)
	if vm {
		argv = append([]string{kmdev, "run", "--"}, argv...)
	}
	s := &staged{t: t, cmd: exec.Command(argv[0], argv[1:]...)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(10*time.Minute, func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	t.Cleanup(func() {
		late.Stop()
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.cmd.Wait()
	})
	return s
}

// until lets scale go on to a stage.
func (s *staged) until(stage string) {
	s.t.Helper()
	for {
		line, err := s.out.ReadString('\n')
		s.log.WriteString(line)
		if strings.TrimSpace(line) == stage {
			return
		}
		if err != nil {
			s.cmd.Wait()
			s.t.Fatalf("ended before stage %q: %s", stage, tail(s.log.String()))
		}
	}
}

func (s *staged) goOn() { fmt.Fprintln(s.in) }

// end lets scale run to its end.
func (s *staged) end() result {
	s.in.Close()
	rest, _ := io.ReadAll(s.out)
	s.log.Write(rest)
	s.cmd.Wait()
	return result{Stdout: s.log.String(), Status: status(s.cmd.ProcessState)}
}

// used is what a process takes from the host, as /proc/PID says.
type used struct{ kilobytes, descriptors, threads int }

func (s *staged) used() used {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	text := readAll(s.t, dir+"status")
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		s.t.Fatal(err)
	}
	field := func(name string) int {
		_, rest, _ := strings.Cut(text, "\n"+name+":")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			s.t.Fatalf("%s%s: %v", dir, name, err)
		}
		return n
	}
	return used{field("VmRSS"), len(fds), field("Threads")}
}

// TestScale does much of one thing: all of it under make test-full.
func TestScale(t *testing.T) {
	before := takeStock(t)
	t.Run("forks", func(t *testing.T) { scaleForks(t, soak(10000, 300)) })
	t.Run("tree", func(t *testing.T) { scaleTree(t, soak(200, 30)) })
	t.Run("descriptors", func(t *testing.T) { scalePlain(t, "descriptors", "4000") })
	t.Run("sparse", func(t *testing.T) { scaleSparse(t, soak(64, 8)) })
	t.Run("grow", func(t *testing.T) { scaleGrow(t, soak(8192, 512)) })
	before.compare(t, takeStock(t))
}

func scalePlain(t *testing.T, args ...string) {
	native := startScale(t, false, args...).end()
	wantEqual(t, native, startScale(t, true, args...).end())
}

// scaleForks: a process that forks again and again grows in nothing.
func scaleForks(t *testing.T, n int) {
	s := startScale(t, true, "forks", strconv.Itoa(n))
	s.until("warm")
	warm := s.used()
	s.goOn()
	s.until("forked")
	after := s.used()
	if after.descriptors > warm.descriptors || after.threads > warm.threads+2 || after.kilobytes > warm.kilobytes+warm.kilobytes/4+4096 {
		t.Errorf("after %d forks it takes %+v, after a tenth of them %+v", n, after, warm)
	}
	if r := s.end(); r.Status != "exit 0" {
		t.Errorf("%+v", r)
	}
}

// scaleTree: as many VMs as processes live at once, and none is left.
func scaleTree(t *testing.T, n int) {
	s := startScale(t, true, "tree", strconv.Itoa(n))
	s.until("all there")
	if got := monitorsOf(t, s.cmd.Process.Pid); got != n+1 {
		t.Errorf("%d monitors with a VM for %d processes", got, n+1)
	}
	if r := s.end(); r.Status != "exit 0" {
		t.Errorf("%+v", r)
	}
}

// monitorsOf counts the processes of a process group that hold a VM.
func monitorsOf(t *testing.T, group int) (n int) {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, _ := strconv.Atoi(filepath.Base(dir)); groupOf(pid) != group {
			continue
		}
		fds, _ := filepath.Glob(dir + "/fd/*")
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); to == "anon_inode:kvm-vm" {
				n++
				break
			}
		}
	}
	return n
}

func groupOf(pid int) int {
	pgid, err := syscall.Getpgid(pid)
	if err != nil {
		return -1
	}
	return pgid
}

// scaleSparse: a mapping costs the host what is touched of it.
func scaleSparse(t *testing.T, gb int) {
	s := startScale(t, true, "sparse", strconv.Itoa(gb))
	s.until("touched")
	touched := gb * 16 * 4 // KB
	if got := s.used().kilobytes; got > 64<<10+touched*16 {
		t.Errorf("%d KB resident for %d KB touched of %d GB", got, touched, gb)
	}
	if r := s.end(); r.Status != "exit 0" {
		t.Errorf("%+v", r)
	}
}

// scaleGrow: memory that the payload gives back is the host's again.
func scaleGrow(t *testing.T, mb int) {
	s := startScale(t, true, "grow", strconv.Itoa(mb))
	resident := map[string]int{}
	for _, stage := range []string{"small", "grown", "half", "gone"} {
		s.until(stage)
		resident[stage] = s.used().kilobytes
		if stage != "gone" {
			s.goOn()
		}
	}
	small, size := resident["small"], mb<<10
	slack := 16<<10 + size/64 // the guest's page tables
	if r := resident["grown"] - small; r < size || r > size+slack {
		t.Errorf("%d KB more resident after touching %d KB", r, size)
	}
	if r := resident["half"] - small; r > size/2+slack {
		t.Errorf("%d KB more resident after giving half of %d KB back", r, size)
	}
	if r := resident["gone"] - small; r > slack {
		t.Errorf("%d KB more resident after giving all of %d KB back", r, size)
	}
	if r := s.end(); r.Status != "exit 0" {
		t.Errorf("%+v", r)
	}
}
