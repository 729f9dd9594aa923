package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kmdev/fixtures"
)

// lldb runs lldb in batch mode over d: connect, then the commands. platform select keeps it from asking this host about
// the process, whose executable there is kmdev.
func (d *debuggee) lldb(commands ...string) transcript {
	d.t.Helper()
	script := append([]string{"settings set auto-confirm true", "platform select remote-linux", "target create " + d.path,
		"gdb-remote 127.0.0.1:" + d.port, "process handle --pass true --stop false --notify false SIGUSR1"}, commands...)
	args := []string{"-b", "--no-lldbinit"}
	for _, c := range script {
		args = append(args, "-o", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "lldb", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBUGINFOD_URLS=")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || err != nil && len(out) == 0 {
		d.t.Fatalf("lldb: %v; transcript:\n%s", err, out)
	}
	return transcript{d.t, strings.ReplaceAll("\n"+string(out), "\n(lldb) ", "\n>>> ")}
}

func TestLLDB(t *testing.T) {
	forVariants(t, "dbg_basic", debuggable, func(t *testing.T, path string) {
		d := startDebuggee(t, path, onG0)
		tr := d.lldb("thread list", "breakpoint set -n factorial -c 'n == 2'", "continue", "bt", "frame variable n", "register write r15 0x1234", "register read rip r15 xmm0", "finish",
			"breakpoint delete --force", "breakpoint set -n with_locals", "continue", "next", "next", "step", "thread step-inst",
			"memory region $pc", "expression watched = 99", "x/4xb &watched", "breakpoint delete --force", "continue")
		tr.want("thread list", `stop reason = signal SIGINT`)
		tr.want("continue", `stop reason = breakpoint 1\.1`)
		tr.want("bt", `frame #0: .*factorial\(n=2\)`, `frame #1: .*factorial\(n=3\)`, `frame #4: .*main\(`)
		tr.want("frame variable n", `n = 2`)
		tr.want("register read rip r15 xmm0", `rip = 0x\w+ +dbg_basic.factorial`, `r15 = 0x0000000000001234`, `xmm0 = \{0x`)
		tr.want("finish", `stop reason = step out`, `Return value: \(int\) \$\d+ = 2`)
		tr.wantNth("continue", 2, `with_locals\(argument=42\)`)
		tr.wantNth("next", 2, `stop reason = step over`, `-> 24`)
		tr.want("step", `stop reason = step in`, `-> 25`)
		tr.want("thread step-inst", `stop reason = instruction step into`)
		tr.want("memory region $pc", `r-x .*dbg_basic`)
		tr.want("x/4xb &watched", `0x63 0x00 0x00 0x00`)
		tr.wantNth("continue", 3, `exited with status = 3`)
		d.ends("exit 3")
		for _, said := range []string{"handled 13", "watched 99"} {
			if !strings.Contains(d.output(), said) {
				t.Errorf("the payload does not print %q:\n%s", said, d.output())
			}
		}
	})
}

// TestLLDBLibraries: libraries that ld.so loads after lldb has connected have their symbols.
func TestLLDBLibraries(t *testing.T) {
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcDynamic), onG0)
	tr := d.lldb("breakpoint set -n raise", "continue", "image list", "bt", "breakpoint delete --force", "detach")
	tr.want("image list", `ld-linux-x86-64\.so\.2`, `libc\.so\.6`)
	tr.want("bt", `raise`, `raise_in\(depth=0\)`, `main\(`)
	d.ends("exit 3")
}
