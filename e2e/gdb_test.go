package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kmdev/fixtures"
)

// debuggee is a payload under `kmdev run -g0` (or --gdb-listen), waiting for debuggers.
type debuggee struct {
	t    *testing.T
	path string
	port string
	cmd  *exec.Cmd

	mu     sync.Mutex
	stdout bytes.Buffer
	stderr bytes.Buffer
	ready  chan struct{} // closed when stdout has its first line
	done   chan struct{} // closed when the process has been waited for
}

var gdbHint = regexp.MustCompile(`gdb -q --ex="target remote localhost:(\d+)" (\S+)`)

// startDebuggee runs a fixture with the given kmdev flags and waits for the hint line.
func startDebuggee(t *testing.T, path string, flags []string, args ...string) *debuggee {
	t.Helper()
	d := &debuggee{t: t, path: path, ready: make(chan struct{}), done: make(chan struct{})}
	argv := append(append(append([]string{"run"}, flags...), "--", path), args...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	d.cmd = exec.CommandContext(ctx, kmdev, argv...)
	d.cmd.Env = command{}.environment()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.cmd.Cancel = func() error { return syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) }
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	port := make(chan string, 1)
	var readers sync.WaitGroup
	readers.Add(2)
	go func() { defer readers.Done(); d.readStdout(stdout) }()
	go func() { defer readers.Done(); d.readStderr(stderr, port) }()
	go func() {
		readers.Wait()
		d.cmd.Wait()
		cancel()
		close(d.done)
	}()
	t.Cleanup(func() {
		select {
		case <-d.done:
		default:
			syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
			<-d.done
		}
	})
	if d.port = <-port; d.port == "" {
		t.Fatalf("no hint line with a port on stderr:\n%s", d.output())
	}
	return d
}

func (d *debuggee) readStdout(r io.Reader) {
	in, first := bufio.NewReader(r), true
	for {
		line, err := in.ReadString('\n')
		d.mu.Lock()
		d.stdout.WriteString(line)
		d.mu.Unlock()
		if first {
			close(d.ready)
			first = false
		}
		if err != nil {
			return
		}
	}
}

func (d *debuggee) readStderr(r io.Reader, port chan<- string) {
	defer close(port)
	in, found := bufio.NewReader(r), false
	for {
		line, err := in.ReadString('\n')
		d.mu.Lock()
		d.stderr.WriteString(line)
		d.mu.Unlock()
		if m := gdbHint.FindStringSubmatch(line); m != nil && !found {
			port <- m[1]
			found = true
		}
		if err != nil {
			return
		}
	}
}

func (d *debuggee) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stdout.String() + d.stderr.String()
}

// ends waits for the payload's end and checks how it ended.
func (d *debuggee) ends(want string) {
	d.t.Helper()
	<-d.done
	if got := status(d.cmd.ProcessState); got != want {
		d.t.Errorf("kmdev run ended with %s, not %s; output:\n%s", got, want, d.output())
	}
}

// session runs gdb in batch mode over d: connect, then the commands. It
// returns what gdb printed, each command's output headed by ">>> command".
func (d *debuggee) session(commands ...string) transcript {
	d.t.Helper()
	script := []string{
		"set pagination off", "set confirm off", "set width 0", "set debuginfod enabled off", "set sysroot /",
		"set print thread-events off", "set python print-stack none", "handle SIGUSR1 nostop noprint pass",
		"target remote localhost:" + d.port,
	}
	script = append(script, commands...)
	var text strings.Builder
	for _, c := range script {
		fmt.Fprintf(&text, "echo \\n>>> %s\\n\n%s\n", strings.ReplaceAll(heading(c), `\`, `\\`), c)
	}
	file := filepath.Join(d.t.TempDir(), "script.gdb")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "gdb", "-nx", "-q", "-batch", "-iex", "set auto-load no", "-x", file, d.path)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		d.t.Fatalf("gdb hangs; transcript:\n%s", out)
	}
	if err != nil && len(out) == 0 {
		d.t.Fatalf("gdb: %v", err)
	}
	return transcript{d.t, string(out)}
}

// heading is the first line of a command: what the transcript shows of it.
func heading(command string) string {
	first, _, _ := strings.Cut(command, "\n")
	return first
}

// transcript is what a gdb session printed.
type transcript struct {
	t    *testing.T
	text string
}

// after returns the output of the n-th (from 1) occurrence of a command.
func (tr transcript) after(command string, n int) string {
	tr.t.Helper()
	rest := tr.text
	for range n {
		_, after, ok := strings.Cut(rest, "\n>>> "+heading(command)+"\n")
		if !ok {
			tr.t.Fatalf("gdb did not get to %q (%d); transcript:\n%s", command, n, tr.text)
		}
		rest = after
	}
	section, _, _ := strings.Cut(rest, "\n>>> ")
	return section
}

// want checks that the output of a command matches each regexp, in this order.
func (tr transcript) want(command string, patterns ...string) {
	tr.t.Helper()
	tr.wantNth(command, 1, patterns...)
}

func (tr transcript) wantNth(command string, n int, patterns ...string) {
	tr.t.Helper()
	section := tr.after(command, n)
	rest := section
	for _, p := range patterns {
		loc := regexp.MustCompile(p).FindStringIndex(rest)
		if loc == nil {
			tr.t.Errorf("%s: no %q in\n%s\ntranscript:\n%s", command, p, section, tail(tr.text))
			return
		}
		rest = rest[loc[1]:]
	}
}

// never checks that no output matches.
func (tr transcript) never(pattern string) {
	tr.t.Helper()
	if m := regexp.MustCompile(pattern).FindString(tr.text); m != "" {
		tr.t.Errorf("%q in the transcript:\n%s", m, tr.text)
	}
}

// line finds the number of the source line marked "// break: name".
func line(t *testing.T, fixture, mark string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "fixtures", "src", fixture))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(string(data), "\n") {
		if strings.Contains(l, "// break: "+mark) {
			return i + 1
		}
	}
	t.Fatalf("%s has no line marked %q", fixture, mark)
	return 0
}

func breakAt(t *testing.T, fixture, mark string) string {
	return fmt.Sprintf("break %s:%d", fixture, line(t, fixture, mark))
}

// debuggable are the ways to link in which gdb must work alike.
var debuggable = []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcStaticPIE, fixtures.GlibcDynamic, fixtures.GlibcNoPIE, fixtures.MuslStatic}

func forVariants(t *testing.T, name string, variants []fixtures.Variant, test func(t *testing.T, path string)) {
	for _, v := range variants {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			test(t, fixtures.Build(t, name, v))
		})
	}
}

var onG0 = []string{"-g0"}

func TestGDBBacktraceAndLocals(t *testing.T) {
	forVariants(t, "dbg_basic", debuggable, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break factorial if n == 2", "continue", "bt", "up", "info locals", "finish", "delete",
			breakAt(t, "dbg_basic.c", "locals"), "continue", "info locals", "p p", "p *&numbers[1]@2", "p text", "ptype p", "p watched", "set var numbers[1] = 500", "delete", "continue")
		tr.want("continue", `Breakpoint 1, factorial \(n=2\)`)
		tr.want("bt", `#0 .*factorial \(n=2\)`, `#1 .*factorial \(n=3\)`, `#2 .*factorial \(n=4\)`, `#3 .*factorial \(n=5\)`, `#4 .* main \(`)
		tr.want("finish", `Value returned is \$\d+ = 6`) // of the frame selected, factorial(3)
		tr.wantNth("continue", 2, `with_locals \(argument=42\)`)
		tr.wantNth("info locals", 2, `p = \{x = 3, y = 4, name = 0x[0-9a-f]+ "corner"\}`, `numbers = \{10, 62, 30, 40\}`, `text = "some text"`, `ratio = 2.5`)
		tr.want("p *&numbers[1]@2", `\{62, 30\}`)
		tr.want("p watched", `= 5`)
		tr.wantNth("continue", 3, `exited with code 03`)
		d.ends("exit 3")
		if !strings.Contains(d.output(), "corner 507 some text") {
			t.Errorf("the variable set by gdb is not what the payload printed:\n%s", d.output())
		}
	})
}

func TestGDBStepping(t *testing.T) {
	forVariants(t, "dbg_basic", debuggable, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		first := line(t, "dbg_basic.c", "loop")
		tr := d.session("break main", "continue", "next", "next", "step", "info registers rip", "stepi", "info frame", "nexti", "x/i $pc", "tbreak with_locals", "continue", "stepi", "finish",
			"tbreak count_to", "continue", "next", "next", "until", "advance "+fmt.Sprint(first+1), "info breakpoints", "kill")
		tr.want("continue", `Breakpoint 1, main`)
		tr.want("finish", `main \(.*dbg_basic\.c:7\d`)
		tr.wantNth("continue", 3, `Temporary breakpoint 3, count_to \(limit=10\)`)
		tr.want("advance "+fmt.Sprint(first+1), `watched = sum`)
		tr.want("kill", `killed`)
		d.ends("signal 9")
	})
}

func TestGDBRegisters(t *testing.T) {
	forVariants(t, "dbg_basic", []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break vectors", "continue", "x/12i $pc", "stepi 12", "tbreak dbg_basic.c:62", "p $xmm0", "p $st0", "p $mxcsr", "p $fctrl", "p $fs_base", "p $gs_base",
			"info registers eflags", "p $orig_rax", "info all-registers", "set $rbx = 0x1234", "p/x $rbx", "set $xmm1.v4_int32[2] = 77", "p $xmm1.v4_int32[2]",
			"info registers rip", "p $cs", "maint print remote-registers", "kill")
		tr.never(`Remote '.*' packet.*(too long|malformed)|Could not|Truncated register`)
		tr.want("p $mxcsr", `= \[`)
		tr.want("p $fctrl", `= 895`)
		tr.want("p $fs_base", `= [0-9]{5,}`)
		tr.want("p/x $rbx", `= 0x1234`)
		tr.want("p $xmm1.v4_int32[2]", `= 77`)
		tr.want("p $cs", `= 51`)
		tr.want("info all-registers", `rax `, `mxcsr `)
		switch { // gdb shows the widest name of each vector register only
		case hasCPUFlag(t, "avx512f"):
			tr.want("info all-registers", `k7 `, `zmm31 `)
		case hasCPUFlag(t, "avx"):
			tr.want("info all-registers", `ymm15 `)
		}
	})
}

func hasCPUFlag(t *testing.T, flag string) bool {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^flags.*\s` + flag + `(\s|$)`).Match(info)
}

// TestGDBVectorValue stops after the payload loaded 1.5 2.5 3.5 4.5 into xmm0.
func TestGDBVectorValue(t *testing.T) {
	forVariants(t, "dbg_basic", debuggable, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break vectors", "continue",
			"python\nwhile 'nop' not in gdb.execute('x/i $pc', to_string=True): gdb.execute('stepi', to_string=True)\nend",
			"p $xmm0.v4_float", "set $xmm0.v4_float[3] = 9.5", "delete", "continue")
		tr.want("p $xmm0.v4_float", `\{1.5, 2.5, 3.5, 4.5\}`)
		d.ends("exit 3")
		if !strings.Contains(d.output(), "vectors 9.5") {
			t.Errorf("the register set by gdb is not what the payload used:\n%s", d.output())
		}
	})
}

func TestGDBThreadLocal(t *testing.T) {
	forVariants(t, "dbg_basic", []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic, fixtures.GlibcNoPIE, fixtures.GlibcStaticPIE}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session(breakAt(t, "dbg_basic.c", "in thread"), "continue", "p number", "p tls_variable - number", "info threads", "thread apply all p tls_variable", "delete", "continue")
		tr.want("p tls_variable - number", `= 100`)
		tr.want("info threads", `thread_body`)
		tr.want("thread apply all p tls_variable", `Thread 1`, `= 100`)
		tr.wantNth("continue", 2, `exited with code 03`)
		d.ends("exit 3")
	})
}

func TestGDBSignalHandler(t *testing.T) {
	// not musl: without unwind tables for raise(), gdb gets no further natively either
	forVariants(t, "dbg_basic", debuggable[:4], func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break handler", "continue", "bt", "up 1", "finish", "delete", "continue")
		tr.want("bt", `#0 .*handler \(sig=10\)`, `#1 .*<signal handler called>`, `raise_in \(depth=0\)`, `raise_in \(depth=1\)`, `raise_in \(depth=2\)`, ` main \(`)
		tr.wantNth("continue", 2, `exited with code 03`)
		d.ends("exit 3")
	})
}

func TestGDBSignalStopsAndPasses(t *testing.T) {
	forVariants(t, "dbg_basic", []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("handle SIGUSR1 stop print", "continue", "p $_siginfo.si_signo", "p $_siginfo._sifields._kill.si_pid == $_inferior", "signal 0")
		tr.want("continue", `received signal SIGUSR1`)
		tr.want("p $_siginfo.si_signo", `= 10`)
		tr.want("signal 0", `exited with code 03`)
		d.ends("exit 3")
		if strings.Contains(d.output(), "handled 13") {
			t.Errorf("the signal was delivered though gdb dropped it:\n%s", d.output())
		}
	})
}

func TestGDBSoftwareWatchpoint(t *testing.T) {
	forVariants(t, "dbg_basic", []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("set can-use-hw-watchpoints 0", "break count_to", "continue", "watch watched", "continue", "continue", "info watchpoints", "delete", "continue")
		tr.want("watch watched", `Watchpoint 2: watched`)
		tr.wantNth("continue", 2, `Old value = 5`, `New value = 0`)
		tr.wantNth("continue", 3, `Old value = 0`, `New value = 1`)
		tr.wantNth("continue", 4, `exited with code 03`)
		d.ends("exit 3")
	})
}

func TestGDBCondition(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcStatic), onG0)
	tr := d.session(breakAt(t, "dbg_basic.c", "loop")+" if i == 7", "continue", "p i", "p sum", "ignore 1 5", "info breakpoints", "continue")
	tr.want("p i", `= 7`)
	tr.want("p sum", `= 21`)
	tr.wantNth("continue", 2, `exited with code 03`)
	d.ends("exit 3")
}

func TestGDBManyThreads(t *testing.T) {
	forVariants(t, "dbg_threads", []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0, "100")
		tr := d.session("break all_here", "continue", "info threads", "thread apply all -s bt", "thread 57", "frame function wait_here", "p number", "p tls_variable == number", "continue")
		if n := strings.Count(tr.after("thread apply all -s bt", 1), "wait_here (number="); n != 100 {
			t.Errorf("%d of 100 threads have a backtrace through wait_here:\n%s", n, tail(tr.text))
		}
		if n := len(regexp.MustCompile(`(?m)^[* ] +\d+ +Thread`).FindAllString(tr.after("info threads", 1), -1)); n != 101 {
			t.Errorf("info threads lists %d threads, not 101:\n%s", n, tail(tr.after("info threads", 1)))
		}
		tr.wantNth("continue", 2, `exited normally`)
		d.ends("exit 0")
	})
}

func TestGDBBreakInThreads(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_threads", fixtures.GlibcDynamic), onG0, "30")
	tr := d.session("set $hits = 0", "break wait_here", "commands\nsilent\nset $hits = $hits + 1\ncontinue\nend", "continue", "p $hits")
	tr.want("p $hits", `= 30`)
	tr.want("continue", `exited normally`)
	d.ends("exit 0")
}

func TestGDBCxx(t *testing.T) {
	forVariants(t, "dbg_cxx", []fixtures.Variant{fixtures.CxxStatic, fixtures.CxxDynamic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break zoo::Cat::legs", "continue", "bt", "p *this", "p name", "up", "p sum", "tbreak zoo::largest<int>", "continue", "p v", "catch throw", "continue", "bt",
			"catch catch", "continue", "delete", "continue")
		tr.want("bt", `zoo::Cat::legs`, `count \(animals=`, ` main \(`)
		tr.want("p name", `"tom"`)
		tr.want("p sum", `= 2`)
		tr.wantNth("continue", 2, `zoo::largest<int>`)
		tr.wantNth("continue", 3, `Catchpoint .*\(exception thrown\)`)
		tr.wantNth("bt", 2, `__cxa_throw`, `fails \(code=11\)`, ` main \(`)
		tr.wantNth("continue", 4, `exception caught`)
		tr.wantNth("continue", 5, `exited with code 04`)
		d.ends("exit 4")
	})
}

func TestGDBCrash(t *testing.T) {
	for _, args := range [][]string{nil, {"thread"}} {
		t.Run(label(args), func(t *testing.T) {
			d := startDebuggee(t, fixtures.Build(t, "dbg_crash", fixtures.GlibcDynamic), onG0, args...)
			tr := d.session("continue", "bt", "p l", "p i", "p total", "up", "p a", "p $_siginfo._sifields._sigfault.si_addr", "info registers rip", "continue")
			tr.want("continue", `received signal SIGSEGV`, `break: crash`)
			tr.want("bt", `#0 .*sum \(l=0x0, n=4\)`, `#1 .*middle \(n=4\)`)
			tr.want("p i", `= 3`)
			tr.want("p total", `= 6`)
			tr.want("p a", `value = 1`)
			tr.want("p $_siginfo._sifields._sigfault.si_addr", `= \(void \*\) 0x0`)
			tr.wantNth("continue", 2, `terminated with signal SIGSEGV`)
			d.ends("signal 11")
		})
	}
}

func TestGDBProcessInfo(t *testing.T) {
	forVariants(t, "dbg_basic", []fixtures.Variant{fixtures.GlibcDynamic, fixtures.GlibcStatic}, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.session("break main", "continue", "info proc mappings", "info auxv", "info sharedlibrary", "info inferiors", "p $_gdb_setting(\"pagination\")",
			"info symbol main", "x/s *argv", "info files", "monitor help", "kill")
		tr.want("info proc mappings", `dbg_basic`, `\[stack\]`)
		tr.want("info auxv", `AT_SYSINFO_EHDR`, `AT_ENTRY`, `AT_EXECFN`)
		tr.want("info symbol main", `main in section .text`)
		tr.want("x/s *argv", `dbg_basic"`)
		d.ends("signal 9")
	})
}

func TestGDBSharedLibraries(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcDynamic), onG0)
	tr := d.session("break puts", "break main", "continue", "info sharedlibrary", "break raise", "continue", "bt", "kill")
	tr.want("info sharedlibrary", `Yes .*libc\.so\.6`)
	tr.want("bt", `raise`, `raise_in \(depth=0\)`, ` main \(`)
	d.ends("signal 9")
}

func TestGDBDetachLetsRun(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcStatic), onG0)
	tr := d.session("break with_locals", "continue", "detach")
	tr.want("detach", `detached`)
	d.ends("exit 3")
	if !strings.Contains(d.output(), "bye now") {
		t.Errorf("the payload did not run to its end after detach:\n%s", d.output())
	}
}

func TestGDBDisconnect(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcStatic), onG0)
	d.session("break with_locals", "continue", "disconnect")
	tr := d.session("bt", "continue") // still there, stopped where it was
	tr.want("bt", `with_locals \(argument=42\)`)
	tr.want("continue", `exited with code 03`)
	d.ends("exit 3")
}

func TestGDBGo(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "gohello", fixtures.Go), onG0)
	tr := d.session("set backtrace past-main on", "break main.main", "continue", "bt 2", "info threads", "delete", "continue")
	tr.want("bt 2", `main\.main`, `runtime\.main`)
	tr.wantNth("continue", 2, `exited normally`)
	d.ends("exit 0")
}

func TestGDBExtended(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcStatic), onG0)
	tr := d.session("p $_exitcode", "info target", "tbreak main", "continue", "call factorial(4)", "p factorial(3) + 1", "p watched = 99", "x/4xb &watched", "find &watched, +8, (char)99",
		"compare-sections .text", "display/i $pc", "nexti", "undisplay 1", "tbreak with_locals", "continue", "return", "info frame", "continue")
	tr.want("call factorial(4)", `= 24`)
	tr.want("p factorial(3) + 1", `= 7`)
	tr.want("x/4xb &watched", `0x63\s+0x00\s+0x00\s+0x00`)
	tr.want("compare-sections .text", `matched`)
	tr.wantNth("continue", 2, `with_locals \(argument=42\)`)
	tr.wantNth("continue", 3, `exited with code 03`)
	d.ends("exit 3")
}
