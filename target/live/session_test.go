package live_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
)

// TestGDBLeaves: a payload outlives its debuggers. Whatever way they leave, the next one finds it.
func TestGDBLeaves(t *testing.T) { onEach(t, testGDBLeaves) }

func testGDBLeaves(t *testing.T, b backEnd) {
	program := build(t, "simple.c")
	d := b.serve(t, program)
	out := d.gdb(t, program, "break add", "continue", "disconnect")
	expect(t, out, "Breakpoint 1, add (a=1, b=2)")
	if _, stopped := d.proc.Stopped(); !stopped {
		t.Error("the program runs after disconnect")
	}
	out = d.gdb(t, program, "backtrace", "break handler", "continue", "continue", "detach")
	expect(t, out, "add (a=1, b=2)", "SIGUSR1", "Breakpoint 1, handler", "detached")
	if err := <-d.done; err != nil {
		t.Error(err)
	}
	for e := range d.proc.Events() {
		t.Errorf("event %+v was left over", e)
	}
}

// TestGDBInterrupts stops a spinning program, and takes it up again while it runs.
func TestGDBInterrupts(t *testing.T) { onEach(t, testGDBInterrupts) }

func testGDBInterrupts(t *testing.T, b backEnd) {
	program := build(t, "spin.c")
	d := b.serve(t, program)
	expect(t, d.gdb(t, program, "detach"), "detached")
	if _, stopped := d.proc.Stopped(); stopped {
		t.Fatal("the program is stopped after detach")
	}
	out := d.gdb(t, program, "info frame", "print counter > 0", "tbreak 8", "continue", "kill")
	expect(t, out, "main", "killed")
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

// TestGDBControlC: a user's Ctrl-C in gdb while the program runs.
func TestGDBControlC(t *testing.T) { onEach(t, testGDBControlC) }

func testGDBControlC(t *testing.T, b backEnd) {
	program := build(t, "spin.c")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := b.serveFiles(t, nil, w, program, "tell")
	w.Close()
	gdb := d.gdbCommand(t, program, "tbreak main", "continue", "continue", "backtrace", "break spin.c:8", "continue", "continue", "print counter > 0", "kill")
	var out bytes.Buffer
	gdb.Stdout, gdb.Stderr = &out, &out
	if err := gdb.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || line != "spinning\n" {
		t.Fatalf("program says %q, %v", line, err)
	}
	gdb.Process.Signal(unix.SIGINT)
	if err := gdb.Wait(); err != nil {
		t.Error(err)
	}
	t.Log(out.String())
	expect(t, out.String(), "received signal SIGINT", "main", "= 1", "killed")
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

// TestGDBExamines: what gdb asks for beside running.
func TestGDBExamines(t *testing.T) { onEach(t, testGDBExamines) }

func testGDBExamines(t *testing.T, b backEnd) {
	program := build(t, "simple.c", "-no-pie")
	d := b.serve(t, program, "an argument")
	core := filepath.Join(t.TempDir(), "core")
	out := d.gdb(t, program, "break add", "continue",
		"info registers rip eflags fs_base", "info all-registers", "print $ymm1", "print $st0", "print $mxcsr",
		"set var $ymm1.v8_int32[7] = 77", "print $ymm1.v8_int32[7]", "print $xmm0.v16_int8[1]", "set var $rax = 0x1234", "print $rax", "print $orig_rax",
		"info proc mappings", "info proc cmdline", "info proc exe", "info proc status", "info auxv", "delete", "print add(40, 2)", "print (long)strlen(\"hello\")",
		"find /w &glob, &glob+1, 0", "compare-sections .text", "monitor help", "monitor maps", "generate-core-file "+core,
		"info threads", "stepi", "nexti", "kill")
	expect(t, out, "Breakpoint 1, add", "rip ", "eflags ", "fs_base ", "st0", "mxcsr", "= 77", "= 49", "= 4660", "Mapped address spaces", program, "[stack]", "cmdline = '"+program, "an argument", "exe = '"+program,
		"Name:\tsimple", "AT_PHDR", "= 42", "= 5", "found", "matched", "monitor commands", "[stack]", "Saved corefile", "killed")
	if strings.Contains(out, "<unavailable>") || strings.Contains(out, "warning: Remote") {
		t.Error("something is unavailable")
	}
	if fi, err := os.Stat(core); err != nil || fi.Size() < 4096 {
		t.Errorf("core: %v %v", fi, err)
	}
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

// TestPortInUse: the error says what to do.
func TestPortInUse(t *testing.T) { onEach(t, testPortInUse) }

func testPortInUse(t *testing.T, b backEnd) {
	program := build(t, "spin.c")
	d := b.serve(t, program)
	if _, err := listen(d.port); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is already in use: choose another with -gPORT or -g0", d.port)) {
		t.Errorf("second server on the port: %v", err)
	}
	d.proc.Kill()
	<-d.done
}

// TestGDBSeesAVX512: gdb's idea of the registers is the hardware's, which the program has filled and prints again.
func TestGDBSeesAVX512(t *testing.T) { onEach(t, testGDBSeesAVX512) }

func testGDBSeesAVX512(t *testing.T, b backEnd) {
	if cpu.XCR0()&0xe0 != 0xe0 {
		t.Skip("this CPU has no AVX-512")
	}
	program := build(t, "avx512.c", "-mavx512f", "-mavx512bw")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := b.serveFiles(t, nil, w, program)
	w.Close()
	out := d.gdb(t, program, "break filled", "continue",
		"print $zmm0.v64_int8[63]", "print $zmm17.v16_int32[15]", "print $zmm31.v8_int64[7]", "print $k3", "print $ymm17.v8_int32[7]", "print $xmm0.v16_int8[15]",
		"set var $zmm17.v16_int32[15] = 1234", "set var $k3 = 0x55", "set var $zmm31.v8_int64[0] = 99", "info registers zmm17", "delete", "continue")
	expect(t, out, "= 63", "= 15", "= 7", "= 2863311530", "= 7", "= 15", "0x4d2", "exited normally")
	text, err := io.ReadAll(r)
	if want := "zmm17[15] 1234 k3 0x55 zmm31[0] 99 zmm0[63] 63\n"; err != nil || string(text) != want {
		t.Errorf("the program found %q, want %q (%v)", text, want, err)
	}
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}
