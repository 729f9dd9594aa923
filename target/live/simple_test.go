package live_test

import "testing"

func TestGDBSimple(t *testing.T) { onEach(t, testGDBSimple) }

func testGDBSimple(t *testing.T, b backEnd) {
	for name, flags := range map[string][]string{
		"dynamic": nil, "static": {"-static"}, "static PIE": {"-static-pie"}, "no PIE": {"-no-pie"},
	} {
		t.Run(name, func(t *testing.T) {
			program := build(t, "simple.c", flags...)
			d := b.serve(t, program)
			out := d.gdb(t, program,
				"break add", "continue", "backtrace", "info locals", "print a", "print $xmm0.v16_int8", "finish",
				"print tls_variable", "break handler", "next", "print glob", "watch glob", "continue", "continue", "delete 3",
				"continue", "print $_siginfo.si_signo", "continue", "backtrace", "info sharedlibrary", "delete", "continue")
			expect(t, out, "Breakpoint 1, add (a=1, b=2)", "#0  add (a=1, b=2)", "in main () at testdata/simple.c", "$1 = 1",
				"$2 = {48, 49, 50, 51,", "Value returned is $3 = 3", "$4 = 42", "$5 = 3", "atchpoint 3: glob", "New value = 4", "New value = 5",
				"SIGUSR1", "$6 = 10", "handler (sig=10)", "<signal handler called>", "in main ()", "exited with code 03")
			if err := <-d.done; err != nil {
				t.Error(err)
			}
		})
	}
}
