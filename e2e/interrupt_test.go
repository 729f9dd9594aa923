package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"kmdev/fixtures"
)

// console is a gdb that is typed at: the way to press Ctrl-C.
type console struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
	log strings.Builder
}

// open starts gdb on d's payload and connects.
func (d *debuggee) open() *console {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c := &console{t: d.t, cmd: exec.CommandContext(ctx, "gdb", "-nx", "-q", "-iex", "set auto-load no", d.path)}
	c.cmd.Env = append(os.Environ(), "LC_ALL=C", "TERM=dumb")
	// a process group of its own: Ctrl-C is for gdb, not for the test
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	r, w := io.Pipe()
	c.cmd.Stdout, c.cmd.Stderr = w, w
	c.out = bufio.NewReader(r)
	if err := c.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		c.cmd.Wait()
		w.Close()
		close(ended)
	}()
	d.t.Cleanup(func() {
		c.in.Close()
		cancel()
		r.Close()
		<-ended
	})
	c.until("(gdb) ")
	for _, s := range []string{"set pagination off", "set confirm off", "set width 0", "set sysroot /", "set debuginfod enabled off"} {
		c.do(s)
	}
	c.do("target remote localhost:" + d.port)
	return c
}

// until reads to the given text and returns all that came before it.
func (c *console) until(text string) string {
	c.t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), text) {
		b, err := c.out.ReadByte()
		if err != nil {
			c.t.Fatalf("gdb ended before %q; it said:\n%s%s", text, c.log.String(), got.String())
		}
		got.WriteByte(b)
	}
	c.log.WriteString(got.String())
	return strings.TrimSuffix(got.String(), text)
}

func (c *console) send(command string) {
	c.t.Helper()
	c.log.WriteString(">>> " + command + "\n")
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Fatalf("%s: %v\n%s", command, err, c.log.String())
	}
}

// do gives a command and returns its output.
func (c *console) do(command string) string {
	c.t.Helper()
	c.send(command)
	return c.until("(gdb) ")
}

// interrupt continues the payload, presses Ctrl-C once gdb waits for it, and
// returns what gdb says of the stop.
func (c *console) interrupt() string {
	c.t.Helper()
	c.do("set debug remote 1")
	c.send("continue")
	c.until("vCont;c")
	c.until("wait: exit") // nothing happened yet: gdb is in its event loop
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	stop := c.until("(gdb) ")
	c.do("set debug remote 0")
	return stop
}

func (c *console) want(what, got string, patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		if !strings.Contains(got, p) {
			c.t.Errorf("%s: no %q in\n%s\nall of it:\n%s", what, p, got, c.log.String())
		}
	}
}

// TestGDBAttachInterruptDetach connects to a payload that runs, looks around,
// presses Ctrl-C, detaches, and comes back.
func TestGDBAttachInterruptDetach(t *testing.T) {
	for _, how := range []struct{ argument, function string }{{"spin", "spin ()"}, {"sleep", "doze ()"}} {
		t.Run(how.argument, func(t *testing.T) {
			d := startDebuggee(t, fixtures.Build(t, "dbg_loop", fixtures.GlibcDynamic), []string{"-g0", "--gdb-listen"}, how.argument)
			<-d.ready
			for range 3 {
				tr := d.session("bt", "p stop", "detach")
				tr.want("bt", strings.ReplaceAll(how.function, "()", `\(\)`), ` main \(`)
				tr.want("p stop", `= 0`)
				tr.want("detach", `detached`)
			}
			c := d.open()
			for range 3 {
				c.want("Ctrl-C", c.interrupt(), "SIGINT")
				c.want("bt", c.do("bt"), how.function, " main (")
			}
			c.do("set var stop = 1")
			if how.argument == "spin" {
				c.want("continue", c.do("continue"), "exited with code 05")
				d.ends("exit 5")
			}
		})
	}
}
