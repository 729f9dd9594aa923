package loader

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// chain gives a script whose interpreter is a script, and so on: n scripts, the last one's interpreter is /bin/true.
func chain(n int) func(testing.TB) string {
	return func(t testing.TB) string {
		dir, interp := t.TempDir(), "/bin/true"
		for i := range n {
			interp = writeFile(t, filepath.Join(dir, fmt.Sprint("s", i)), []byte("#!"+interp+" arg\n"), 0o755)
		}
		return interp
	}
}

var scriptErrors = []errorCase{
	{name: "no interpreter", path: text("#!\n"), errno: unix.ENOEXEC, reason: "without an interpreter"},
	{name: "only blanks", path: text("#! \t \n/bin/true\n"), errno: unix.ENOEXEC, reason: "without an interpreter"},
	{name: "blanks to the limit", path: text("#!" + strings.Repeat(" ", 300)), errno: unix.ENOEXEC, reason: "without an interpreter"},
	{name: "only the two characters", path: text("#!"), errno: unix.EACCES, reason: `its #! interpreter ""`},
	{name: "name over the limit", path: text("#!/" + strings.Repeat("x", 300) + "\n"), errno: unix.ENOEXEC, reason: "within 256 bytes"},
	{name: "missing interpreter", path: text("#!/nowhere/sh -e\n"), errno: unix.ENOENT, reason: "names the interpreter /nowhere/sh, which does not exist"},
	{name: "DOS line ending", path: text("#!/bin/sh\r\n"), errno: unix.ENOENT, reason: "DOS line ending"},
	{name: "interpreter is a directory", path: text("#!/tmp\n"), errno: unix.EACCES, reason: "its #! interpreter /tmp is a directory"},
	{name: "interpreter not executable", path: text("#!/etc/passwd\n"), errno: unix.EACCES, reason: "its #! interpreter /etc/passwd is not executable"},
	{name: "interpreter is text", path: func(t testing.TB) string { return executable(t, "#!"+executable(t, "text")+"\n") }, errno: unix.ENOEXEC, reason: "neither an ELF program"},
	{name: "interpreter is a bad script", path: func(t testing.TB) string { return executable(t, "#!"+executable(t, "#!\n")+"\n") }, errno: unix.ENOEXEC, reason: "without an interpreter"},
	{name: "interpreter's interpreter is missing", path: func(t testing.TB) string { return executable(t, "#!"+executable(t, "#!/nowhere\n")+"\n") }, errno: unix.ENOENT, reason: "script: its #! line names the interpreter /nowhere"},
	{name: "six scripts in a row", path: chain(6), errno: unix.ELOOP, reason: "5 at most"},
}

// TestScriptArguments compares the argument list that the interpreter gets with the kernel's, whatever the line.
func TestScriptArguments(t *testing.T) {
	long := strings.Repeat("y", 300)
	for name, content := range map[string]string{
		"plain":                 "#!/bin/true\n",
		"argument":              "#!/bin/true -a\n",
		"argument of two words": "#! /bin/true  -a \t b\t \n",
		"tabs":                  "#!\t/bin/true\t-a\n",
		"blank at the end":      "#!/bin/true \n",
		"no newline":            "#!/bin/true -a",
		"blank, no newline":     "#!/bin/true ",
		"NUL after the name":    "#!/bin/true\x00-a\n",
		"NUL in the argument":   "#!/bin/true -a\x00b\n",
		"NUL, newline later":    "#!/bin/true -a b\x00 c\n d",
		"NUL as argument":       "#!/bin/true \x00\n",
		"cut argument":          "#!/bin/true " + long + "\n",
		"cut blank argument":    "#!/bin/true a" + strings.Repeat(" ", 300) + "b\n",
		"255 bytes":             "#!/bin/true " + long[:256-len("#!/bin/true ")-1] + "\n",
		"256 bytes":             "#!/bin/true " + long[:256-len("#!/bin/true ")] + "\n",
		"carriage return":       "#!/bin/true -a\r\n",
		"not UTF-8":             "#!/bin/true \xff\xfe\n",
	} {
		t.Run(name, func(t *testing.T) {
			compareArguments(t, executable(t, content), []string{"zero", "one"})
			compareArguments(t, executable(t, content), nil)
		})
	}
	for n := 2; n <= maxScripts; n++ {
		t.Run(fmt.Sprint(n, " scripts"), func(t *testing.T) { compareArguments(t, chain(n)(t), []string{"zero", "one"}) })
	}
}

func compareArguments(t *testing.T, path string, argv []string) {
	t.Helper()
	o := load(t, path, argv, []string{"E=1"})
	v := execNative(t, path, argv, []string{"E=1"}, func(n *native) {
		theirs := string(n.read(t, n.stat[48], n.stat[49]-n.stat[48]))
		ours := string(o.window.read(o.start.ArgStart, o.start.ArgEnd-o.start.ArgStart))
		if theirs != ours {
			t.Errorf("argv: kernel %q, ours %q", theirs, ours)
		}
	})
	if v != (verdict{}) {
		t.Errorf("natively: %v", v)
	}
}

// TestScriptStatus covers what stays the script's and what becomes the interpreter's.
func TestScriptStatus(t *testing.T) {
	path := executable(t, "#!/bin/true\n")
	p, err := Open(path, []string{"x"}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Filename != path || p.Exe != "/bin/true" || p.Comm() != "script" {
		t.Errorf("filename %q, exe %q, comm %q", p.Filename, p.Exe, p.Comm())
	}
}
