package live_test

import (
	"path/filepath"
	"testing"
)

// TestGDBThreadLocal: variables of the program, of a library it is linked with and of one it opens later. musl gives every
// thread all libraries' storage at once, glibc what does not fit the static block when it is first used.
func TestGDBThreadLocal(t *testing.T) { onEach(t, testGDBThreadLocal) }

func testGDBThreadLocal(t *testing.T, b backEnd) {
	for compiler, unused := range map[string]string{"gcc": "Cannot find thread-local", "musl-gcc": "= 9"} {
		t.Run(compiler, func(t *testing.T) {
			lib := buildWith(t, compiler, "lib.c", "-shared", "-fpic")
			dl := buildWith(t, compiler, "dl.c", "-shared", "-fpic")
			program := buildWith(t, compiler, "tls.c", "-pthread", lib, "-Wl,-rpath,"+filepath.Dir(lib))
			d := b.serve(t, program, dl)
			out := d.gdb(t, program, "break here", "continue", "up",
				"print name", "print lib_tls", "print dl_tls", "continue", "up", "print name", "print lib_tls", "print dl_tls",
				"thread 1", "print lib_tls", "print name", "delete", "continue")
			expect(t, out, `= "main program`, "= 70", unused, `= "a thread`, "= 8", "= 10", "= 70", `= "main program`, "exited normally")
			if err := <-d.done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGDBThreadLocalStatic: of static programs, whose link map gdb does not know.
func TestGDBThreadLocalStatic(t *testing.T) { onEach(t, testGDBThreadLocalStatic) }

func testGDBThreadLocalStatic(t *testing.T, b backEnd) {
	for name, c := range map[string][]string{
		"glibc": {"gcc", "-static"}, "glibc PIE": {"gcc", "-static-pie"}, "musl": {"musl-gcc", "-static"},
	} {
		t.Run(name, func(t *testing.T) {
			program := buildWith(t, c[0], "threads.c", "-pthread", c[1])
			d := b.serve(t, program, "3")
			out := d.gdb(t, program, "break hit", "continue", "print slot == n", "thread 1", "print slot", "delete", "continue")
			expect(t, out, "hit Breakpoint 1", "= 1", "= 1000", "exited normally")
			if err := <-d.done; err != nil {
				t.Error(err)
			}
		})
	}
}
