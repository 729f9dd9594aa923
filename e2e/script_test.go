package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"kmdev/fixtures"
)

// TestScripts runs the command line's specification:
// cmd/kmdev/testdata/script/*.txtar. Besides testscript's own commands there are
//
//	fixture NAME VARIANT FILE   compiles a fixture into FILE
//	damage FILE OFFSET HEX      overwrites bytes of FILE
//	truncate FILE SIZE          cuts FILE
//
// and kmdev itself, as `exec kmdev …`.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "cmd", "kmdev", "testdata", "script"),
		Setup: func(env *testscript.Env) error {
			if err := os.Symlink(kmdev, filepath.Join(env.WorkDir, "kmdev")); err != nil {
				return err
			}
			env.Setenv("PATH", env.WorkDir+":"+os.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fixture":  fixtureCommand,
			"damage":   damageCommand,
			"truncate": truncateCommand,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func fixtureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fixture NAME VARIANT FILE")
	}
	path, err := fixtures.Compile(args[0], fixtures.Variant(args[1]))
	ts.Check(err)
	data, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), data, 0o755))
}

func damageCommand(ts *testscript.TestScript, neg bool, args []string) {
	var offset int64
	var data []byte
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE OFFSET HEX")
	}
	_, err := fmt.Sscanf(args[1], "%v", &offset)
	ts.Check(err)
	_, err = fmt.Sscanf(args[2], "%x", &data)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(data, offset)
	ts.Check(err)
}

func truncateCommand(ts *testscript.TestScript, neg bool, args []string) {
	var size int64
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE SIZE")
	}
	_, err := fmt.Sscanf(args[1], "%v", &size)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// TestBadELFs damages a hello in many places: each run must end by itself, with
// exit status 126 and one line that begins with kmdev, or as Linux would end it.
func TestBadELFs(t *testing.T) {
	good, err := os.ReadFile(fixtures.Build(t, "hello", fixtures.GlibcStatic))
	if err != nil {
		t.Fatal(err)
	}
	type damage struct {
		name  string
		apply func([]byte) []byte
	}
	set := func(name string, offset int, bytes ...byte) damage {
		return damage{name, func(b []byte) []byte { copy(b[offset:], bytes); return b }}
	}
	ff8 := []byte{255, 255, 255, 255, 255, 255, 255, 255}
	for _, d := range []damage{
		{"empty", func([]byte) []byte { return nil }},
		{"one byte", func(b []byte) []byte { return b[:1] }},
		{"half a header", func(b []byte) []byte { return b[:32] }},
		{"header only", func(b []byte) []byte { return b[:64] }},
		{"text", func([]byte) []byte { return []byte("just text\n") }},
		{"zeros", func([]byte) []byte { return make([]byte, 4096) }},
		set("32-bit class", 4, 1),
		set("big endian", 5, 2),
		set("no machine", 18, 0, 0),
		set("ARM", 18, 0xb7, 0),
		set("i386", 18, 3, 0),
		set("relocatable", 16, 1, 0),
		set("core file", 16, 4, 0),
		set("entry in the kernel half", 24, ff8...),
		set("program headers beyond the file", 32, 0, 0, 0, 0x7f),
		set("program headers at 2^64-1", 32, ff8...),
		set("wrong header size", 54, 1, 0),
		set("no program headers", 56, 0, 0),
		set("too many program headers", 56, 255, 255),
		set("segment beyond the file", 64+56*1+8, 0, 0, 0, 0, 1),
		set("segment in the kernel half", 64+56*1+16, 0, 0, 0, 0, 0, 0x80, 255, 255),
		set("huge segment", 64+56*1+40, ff8...),
		set("file size above memory size", 64+56*1+32, 0, 0, 0, 1),
		set("offset and address disagree", 64+56*1+8, 1),
	} {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "payload")
			if err := os.WriteFile(path, d.apply(append([]byte{}, good...)), 0o755); err != nil {
				t.Fatal(err)
			}
			got := command{argv: []string{path}}.underKmdev(t)
			switch {
			case got.Status == "exit 126":
				if n := strings.Count(got.Stderr, "\n"); n != 1 || !strings.HasPrefix(got.Stderr, "kmdev: ") || !strings.Contains(got.Stderr, path) {
					t.Errorf("not one line that names the file: %q", got.Stderr)
				}
			case got.Status == "signal 11" || got.Status == "exit 0" || got.Status == "signal 9":
				if native := (command{argv: []string{path}}).tryNative(t); native != got.Status {
					t.Errorf("ended with %s, natively with %s", got.Status, native)
				}
			default:
				t.Errorf("ended with %s: %s", got.Status, tail(got.Stderr))
			}
			if strings.Contains(got.Stderr, "goroutine ") {
				t.Errorf("a panic: %s", tail(got.Stderr))
			}
		})
	}
}

// tryNative returns how a program that may not even start ends.
func (c command) tryNative(t *testing.T) string {
	t.Helper()
	defer func() { recover() }()
	probe := command{argv: []string{"/bin/sh", "-c", `"$0"; s=$?; [ $s -gt 128 ] && echo "signal $((s-128))" || echo "exit $s"`, c.argv[0]}}
	r := probe.run(t)
	return lastLine(r.Stdout)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return lines[len(lines)-1]
}

// TestStandardFiles: the payload's standard files are kmdev's own open file
// descriptions, offsets and flags included.
func TestStandardFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	if err := os.WriteFile(path, []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("exec 3<%s; head -c 4 <&3; %s run -- /bin/cat <&3; echo ' then:'; cat <&3", path, kmdev)
	r := command{argv: []string{"/bin/sh", "-c", script}}.run(t)
	// head reads the whole file ahead and seeks back on exit only if it can; GNU head -c does
	if want := "0123456789 then:\n"; r.Stdout != want {
		t.Errorf("stdout %q, want %q (%s)", r.Stdout, want, r.Stderr)
	}
	closed := command{argv: []string{"/bin/sh", "-c", fmt.Sprintf("exec 0<&- 2>&-; %s run -- /bin/ls /proc/self/fd", kmdev)}}
	native := command{argv: []string{"/bin/sh", "-c", "exec 0<&- 2>&-; exec /bin/ls /proc/self/fd"}}
	if got, want := closed.run(t), native.run(t); got != want {
		t.Errorf("with stdin and stderr closed: %+v, natively %+v", got, want)
	}
}

// TestBrokenPipe: writing to a closed pipe kills the payload as it would natively.
func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	buf := make([]byte, 5)
	go func() {
		io.ReadFull(r, buf)
		r.Close()
	}()
	script := fmt.Sprintf("%s run -- /usr/bin/yes >&3; echo $?", kmdev)
	cmd := command{argv: []string{"/bin/sh", "-c", script}}
	got := cmd.runWith(t, w)
	if lastLine(got.Stdout) != "141" {
		t.Errorf("yes ended with %q, not 128+SIGPIPE (%s)", got.Stdout, got.Stderr)
	}
}
