package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"kmdev/fixtures"
)

// fixture is a row of the table of programs whose run under kmdev must equal the native one.
type fixture struct {
	name     string
	variants []fixtures.Variant
	args     [][]string // one run each; nil: one run without arguments
	// logs: the program makes calls that kmdev refuses with a line on stderr,
	// so that is not compared.
	logs bool
}

var (
	onGlibc   = []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic}
	onStatics = []fixtures.Variant{fixtures.GlibcStatic, fixtures.MuslStatic}
	onC       = fixtures.C
	onCxx     = []fixtures.Variant{fixtures.CxxStatic, fixtures.CxxDynamic}
	onGo      = []fixtures.Variant{fixtures.Go}
)

func each(args ...string) [][]string {
	var runs [][]string
	for _, a := range args {
		runs = append(runs, strings.Fields(a))
	}
	return runs
}

var nativeEqual = []fixture{
	{name: "hello", variants: onC},
	{name: "entry", variants: []fixtures.Variant{fixtures.Assembly}},
	{name: "args", variants: onC, args: [][]string{nil, {"a", "b c", "", "ü"}, {strings.Repeat("long", 30000)}}},
	{name: "exitcode", variants: onStatics, args: each("0", "1", "42", "255", "256", "7 raw")},
	{name: "die", variants: onC, args: each("null_read", "null_write", "null_call", "abort", "fpe", "ill", "trap", "privileged", "bus",
		"exec_data", "overflow", "term", "killed", "realtime", "thread", "blocked", "ignored", "bad_stack")},
	{name: "faults", variants: []fixtures.Variant{fixtures.GlibcStatic, fixtures.GlibcDynamic, fixtures.GlibcStaticPIE}},
	{name: "sig_basic", variants: onC},
	{name: "sig_queue", variants: onStatics},
	{name: "sig_stack", variants: onStatics},
	{name: "sig_wait", variants: onStatics},
	{name: "sig_restart", variants: onStatics},
	{name: "sig_context", variants: onC},
	{name: "sig_timer", variants: onStatics},
	{name: "threads", variants: onC, args: each("10", "10 waves", "200")},
	{name: "threads", variants: []fixtures.Variant{fixtures.GlibcDynamic}, args: each("1000", "200 waves")},
	{name: "thread_sync", variants: onC},
	{name: "thread_cancel", variants: onC},
	{name: "thread_exit", variants: onC, args: each("main_exits_first", "thread_exits", "return_while_running", "detached", "killed", "raw", "last")},
	{name: "thread_info", variants: onStatics},
	{name: "thread_inherit", variants: onGlibc},
	{name: "clone_raw", variants: onStatics},
	{name: "futex", variants: onStatics},
	{name: "vectors", variants: onStatics},
	{name: "fsgsbase", variants: onStatics},
	{name: "mem_map", variants: onC},
	{name: "mem_file", variants: onC},
	{name: "mem_exec", variants: onC},
	{name: "mem_fault_calls", variants: onStatics},
	{name: "files", variants: onGlibc},
	{name: "procfs", variants: onC},
	{name: "proc_facts", variants: onC, args: [][]string{nil, {"tree"}}},
	{name: "rlimits", variants: onStatics},
	{name: "sockets", variants: onGlibc},
	{name: "polling", variants: onStatics},
	{name: "tty", variants: onStatics},
	{name: "clock", variants: onC},
	{name: "seccomp", variants: onGlibc, args: [][]string{nil, {"strict"}, {"strict_killed"}, {"process"}, {"unknown"}, {"alone"}, {"thread"}, {"leader"}, {"trap"}, {"children"}}},
	{name: "inherit", variants: onGlibc},
	{name: "aio", variants: onGlibc},
	{name: "proc_fork", variants: onC},
	{name: "proc_vfork", variants: onGlibc},
	{name: "proc_exec", variants: onC},
	{name: "proc_bomb", variants: onGlibc},
	{name: "ipc", variants: onGlibc},
	{name: "descriptors", variants: onGlibc, logs: true},
	{name: "barriers", variants: onGlibc},
	{name: "mounts", variants: onGlibc},
	{name: "landlock", variants: onGlibc},
	{name: "ioctls", variants: onGlibc, logs: true},
	{name: "isolation", logs: true, variants: onStatics},
	{name: "escape_cpu", variants: onStatics, args: each("privileged", "ports", "gates", "selectors", "addresses")},
	{name: "escape_frame", variants: onStatics},
	{name: "escape_files", logs: true, variants: onGlibc},
	{name: "escape_race", logs: true, variants: onGlibc},
	{name: "escape_signal", variants: onStatics},
	{name: "escape_tree", logs: true, variants: onGlibc},
	{name: "escape_calls", logs: true, variants: onGlibc, args: each("structures", "maps", "requests")},
	{name: "misc", variants: onStatics, logs: true},
	{name: "cxx_exceptions", variants: onCxx},
	{name: "cxx_threads", variants: onCxx},
	{name: "gohello", variants: onGo},
	{name: "gorun", variants: onGo},
	{name: "gonet", variants: onGo},
	{name: "dbg_basic", variants: onC},
	{name: "dbg_threads", variants: onStatics},
	{name: "dbg_crash", variants: onC, args: [][]string{nil, {"thread"}}},
	{name: "dbg_cxx", variants: onCxx},
}

// TestNativeEqual runs every fixture natively and under kmdev and compares
// stdout, stderr and how it ended.
func TestNativeEqual(t *testing.T) {
	for _, f := range nativeEqual {
		for _, v := range f.variants {
			runs := f.args
			if runs == nil {
				runs = [][]string{nil}
			}
			for _, args := range runs {
				t.Run(fmt.Sprintf("%s/%s/%s", f.name, v, label(args)), func(t *testing.T) {
					t.Parallel()
					compare(t, f, command{argv: append([]string{fixtures.Build(t, f.name, v)}, args...)})
				})
			}
		}
	}
}

func compare(t *testing.T, f fixture, c command) {
	t.Helper()
	native := c.native(t)
	if strings.Contains(native.Stdout, "FAIL ") {
		t.Fatalf("the fixture fails natively:\n%s", tail(native.Stdout))
	}
	got := c.underKmdev(t)
	if f.logs {
		native.Stderr, got.Stderr = "", ""
	}
	wantEqual(t, native, got)
}

// label names a run by its arguments, shortened.
func label(args []string) string {
	s := strings.Join(args, "_")
	if s == "" {
		return "plain"
	}
	if len(s) > 30 {
		s = s[:30]
	}
	return s
}

// TestRust runs where the optional Rust compiler is at hand.
func TestRust(t *testing.T) {
	if !fixtures.Rust.Available() {
		t.Skip("no rustc in PATH: Rust payloads are checked where it is installed")
	}
	compare(t, fixture{}, command{argv: []string{fixtures.Build(t, "hello_rust", fixtures.Rust)}})
}

// TestFixturesListed keeps the table complete: a program in fixtures/src that no test runs is an oversight.
func TestFixturesListed(t *testing.T) {
	listed := map[string]bool{
		"hello_rust": true, // TestRust
		"scale":      true, // scale_test.go: waits for a test to look at it
		"dbg_loop":   true, // gdb_test.go: runs until told to stop
	}
	for _, f := range nativeEqual {
		listed[f.name] = true
	}
	readme, err := os.ReadFile("../fixtures/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".c", ".cc", ".s", ".go", ".rs"} {
		for _, name := range fixtures.Names(ext) {
			if !listed[name] && !strings.HasPrefix(name, "bench") {
				t.Errorf("fixtures/src/%s%s is in no test's table", name, ext)
			}
			if !strings.Contains(string(readme), "\n| "+name+" | ") {
				t.Errorf("fixtures/README.md does not list %s", name)
			}
		}
	}
}
