package live_test

import (
	"path/filepath"
	"testing"
)

// TestGDBThreadLocal: variables of the program, of a library it is linked with and of one it opens later.
func TestGDBThreadLocal(t *testing.T) { onEach(t, testGDBThreadLocal) }

func testGDBThreadLocal(t *testing.T, b backEnd) {
	lib := build(t, "lib.c", "-shared", "-fpic")
	dl := build(t, "dl.c", "-shared", "-fpic")
	program := build(t, "tls.c", "-pthread", lib, "-Wl,-rpath,"+filepath.Dir(lib))
	d := b.serve(t, program, dl)
	out := d.gdb(t, program, "break here", "continue", "up",
		"print name", "print lib_tls", "print dl_tls", "continue", "up", "print name", "print lib_tls", "print dl_tls",
		"thread 1", "print lib_tls", "print name", "delete", "continue")
	expect(t, out, `= "main program`, "= 70", "Cannot find thread-local", `= "a thread`, "= 8", "= 10", "= 70", `= "main program`, "exited normally")
}
