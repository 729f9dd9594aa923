package hostcall

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// launch is how a process is to be started: by a Go program that has none of this package's doings.
type launch struct {
	Exe           string
	Args, Env     []string
	Mask, Ignored uint64
	Soft, Hard    uint64 // RLIMIT_NOFILE
	Pending       []int  // signals sent to the process itself, with these numbers for values
}

// report is what a started monitor finds.
type report struct {
	Mask, Ignored uint64
	Soft, Hard    uint64
	Args, Env     []string
	Godebug       string
	Procs         int
	Masks         map[string]int // of all threads, and how many have it
	Got           [][3]int64     // pending signals: number, si_code, value
}

func init() {
	roles["launch"] = launchRole
	roles["report"] = reportRole
}

func launchRole() {
	var l launch
	params(&l)
	for sig := 1; sig <= numSignals; sig++ {
		if l.Ignored&(1<<(sig-1)) != 0 {
			if e := rtSigaction(sig, &sigaction{handler: sigIgn}, nil); e != 0 {
				fail("ignore", sig, e)
			}
		}
	}
	setMask(l.Mask)
	for _, sig := range l.Pending {
		if e := send(os.Getpid(), os.Getpid(), sig, uint64(sig)); e != 0 {
			fail("send", sig, e)
		}
	}
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}))
	must(unix.CloseRange(3, 1<<30, unix.CLOSE_RANGE_CLOEXEC))
	must(unix.Exec(l.Exe, l.Args, l.Env))
}

func reportRole() {
	mustInit()
	threads(200)
	r := report{
		Mask: InheritedMask(), Ignored: InheritedIgnored(),
		Soft: InheritedNofile().Cur, Hard: InheritedNofile().Max,
		Args: Args(), Env: Environ(),
		Godebug: os.Getenv("GODEBUG"), Procs: runtime.GOMAXPROCS(0),
		Masks: map[string]int{},
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	must(err)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		must(err)
		r.Masks[statusField(string(text), "SigBlk")]++
	}
	for {
		info, ok := Dequeue(^uint64(0))
		if !ok {
			break
		}
		h := head(&info)
		r.Got = append(r.Got, [3]int64{int64(h.signo), int64(h.code), int64(h.value)})
	}
	reply(r)
}

// threads starts n payload threads and n of the runtime's own, and leaves them there.
func threads(n int) {
	var ready sync.WaitGroup
	for range n {
		ready.Add(2)
		go func() {
			runtime.LockOSThread()
			_, err := New()
			must(err)
			ready.Done()
			select {}
		}()
		go func() {
			runtime.LockOSThread()
			ready.Done()
			select {}
		}()
	}
	ready.Wait()
}

// statusField is a line of /proc/PID/status.
func statusField(text, name string) string {
	_, rest, _ := strings.Cut(text, "\n"+name+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

const unblockable = uint64(1)<<(unix.SIGKILL-1) | uint64(1)<<(unix.SIGSTOP-1)

var closedMask = fmt.Sprintf("%016x", threadMask&^unblockable)

// goOpens are the signals that a Go program opens in its first thread whatever the mask it was started with
// (runtime.blockableSig).
func goOpens() (set uint64) {
	for sig, flags := range runtimeSigtable {
		if flags&runtimeOpens != 0 {
			set |= bit(unix.Signal(sig))
		}
	}
	return set | bit(unix.SIGURG)
}

// goKeeps are the signals whose inherited SIG_IGN survives the start of a Go program (runtime.initsig).
const goKeeps = uint64(1)<<0 | 1<<1 | 1<<17 | 1<<19 | 1<<20 | 1<<21 | 1<<31 | 1<<33

func TestInheritance(t *testing.T) {
	notUnderRace(t)
	env := []string{"B=2", "A=1", "GODEBUG=asyncpreemptoff=0", "B=3", "no equals sign", "", "GOMAXPROCS=3", "GOGC=off"}
	every := launch{
		Mask:    bit(unix.SIGUSR1) | bit(unix.SIGCHLD) | bit(unix.SIGTERM) | bit(unix.SIGPIPE) | 1<<39 | 1<<63,
		Ignored: ^unblockable,
		Soft:    123, Hard: 4567,
	}
	none := launch{Soft: 1024, Hard: 1024}
	some := launch{Mask: ^uint64(0), Ignored: bit(unix.SIGHUP) | bit(unix.SIGPIPE) | bit(unix.SIGTTOU), Soft: 99, Hard: 100}
	for mode, exe := range startModes(t) {
		for i, l := range []launch{every, none, some} {
			t.Run(fmt.Sprint(mode, i), func(t *testing.T) {
				l.Exe, l.Args = exe, []string{"another name", "-x", "", "ü"}
				l.Env = append(slices.Clone(env), roleVar+"=report")
				var r report
				run(t, command(t, exe, "launch", l), &r)

				mask, ignored := l.Mask&^unblockable, l.Ignored
				if mode == "again" {
					mask, ignored = mask&^goOpens(), ignored&goKeeps
				}
				if r.Mask != mask {
					t.Errorf("mask %x, want %x", r.Mask, mask)
				}
				if r.Ignored != ignored {
					t.Errorf("ignored %x, want %x", r.Ignored, ignored)
				}
				if r.Soft != l.Soft || r.Hard != l.Hard {
					t.Errorf("descriptors %d %d, want %d %d", r.Soft, r.Hard, l.Soft, l.Hard)
				}
				if !slices.Equal(r.Args, l.Args) || !slices.Equal(r.Env, l.Env) {
					t.Errorf("args %q, env %q; want %q, %q", r.Args, r.Env, l.Args, l.Env)
				}
				if r.Godebug != "asyncpreemptoff=1,containermaxprocs=0,updatemaxprocs=0" {
					t.Errorf("GODEBUG is %q", r.Godebug)
				}
				if r.Procs != 1 {
					t.Errorf("the payload's GOMAXPROCS tunes the monitor: %d", r.Procs)
				}
				if len(r.Masks) != 1 || r.Masks[closedMask] < 400 {
					t.Errorf("masks of the threads: %v", r.Masks)
				}
			})
		}
	}
}

// Signals that are pending from before the start, and blocked, reach the payload, with their siginfo: none is opened in
// any of the runtime's threads, not even those that the runtime always opens.
func TestPendingSurvivesStart(t *testing.T) {
	notUnderRace(t)
	l := launch{
		Exe: withEntry(t), Args: []string{"x"}, Env: []string{roleVar + "=report"},
		Mask: ^uint64(0), Soft: 1024, Hard: 1024,
	}
	for sig := 1; sig <= numSignals; sig++ {
		switch unix.Signal(sig) {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCONT, unix.SIGSEGV, unix.SIGBUS: // CONT and the stop signals cancel each other
		default:
			l.Pending = append(l.Pending, sig)
		}
	}
	var r report
	run(t, command(t, l.Exe, "launch", l), &r)
	got := map[int64]bool{}
	for _, g := range r.Got {
		if g[1] != siQueue || g[2] != g[0] {
			t.Errorf("signal %d came with si_code %d, value %d", g[0], g[1], g[2])
		}
		got[g[0]] = true
	}
	for _, sig := range l.Pending {
		if !got[int64(sig)] {
			t.Errorf("signal %d was lost", sig)
		}
	}
}

// plainReport is what an ordinary process finds.
type plainReport struct {
	Status    string
	Env, Args []string
}

func init() {
	roles["plain"] = func() {
		must(Plain())
		text, err := os.ReadFile("/proc/thread-self/status")
		must(err)
		reply(plainReport{string(text), os.Environ(), os.Args})
	}
	roles["plain then init"] = func() {
		must(Plain())
		if err := Init(); err == nil {
			fail("Init went on")
		}
		reply(true)
	}
}

func TestPlain(t *testing.T) {
	for mode, exe := range startModes(t) {
		t.Run(mode, func(t *testing.T) {
			l := launch{
				Exe: exe, Args: []string{"name", "arg"}, Env: []string{"A=1", "GODEBUG=x=y", roleVar + "=plain"},
				Mask: bit(unix.SIGUSR1), Ignored: bit(unix.SIGPIPE) | bit(unix.SIGHUP), Soft: 512, Hard: 512,
			}
			var r plainReport
			run(t, command(t, exe, "launch", l), &r)
			if blocked, _ := strconv.ParseUint(statusField(r.Status, "SigBlk"), 16, 64); blocked&^goOpens() != l.Mask&^goOpens() {
				t.Errorf("mask %x, want %x", blocked, l.Mask)
			}
			if ignored, _ := strconv.ParseUint(statusField(r.Status, "SigIgn"), 16, 64); ignored&goKeeps != l.Ignored&goKeeps {
				t.Errorf("ignored %x, want %x", ignored, l.Ignored)
			}
			if !slices.Equal(r.Env, l.Env) || !slices.Equal(r.Args, l.Args) {
				t.Errorf("env %q, args %q; want %q, %q", r.Env, r.Args, l.Env, l.Args)
			}
			var ok bool
			run(t, command(t, exe, "plain then init", nil), &ok)
		})
	}
}

// The linker takes -E kmdev_rt0, and Init then goes on in the same process image.
func TestLinkedWithEntry(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-ldflags=-E kmdev_rt0", "-o", exe, "./testdata/probe")
	build.Env = append(Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	probe := exec.Command(exe)
	probe.Stderr = os.Stderr
	out, err := probe.Output()
	if err != nil || strings.TrimSpace(string(out)) != exe {
		t.Fatalf("%v: runs %q, want %q", err, out, exe)
	}
}

func TestInitTwice(t *testing.T) {
	if err := Init(); err == nil {
		t.Fatal("no error")
	}
}
