package gdbserver

import (
	"io"
	"strings"
	"testing"
)

// TestConnectionAloneDisturbsNothing: only a packet makes a client of a connection.
func TestConnectionAloneDisturbsNothing(t *testing.T) {
	f := newFake()
	f.running = true
	dial, _ := start(t, f)
	scan := dial()
	scan.conn.Close()
	c := dial() // served after the scan's connection has ended
	c.hello()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.log, " "); got != "halt" {
		t.Errorf("the process saw %q, want one halt, for the second connection", got)
	}
}

// TestClientsComeAndGo: a running process is stopped for a client; one that vanishes leaves it as it is; detaching lets it run.
func TestClientsComeAndGo(t *testing.T) {
	f := newFake()
	f.running = true
	dial, _ := start(t, f)
	c := dial()
	c.hello()
	if got := c.ask("?"); !strings.HasPrefix(got, "T05") {
		t.Errorf("the stop for a client is %q", got)
	}
	c.want("Z0,400010,1", "OK")
	c.conn.Close()

	c = dial()
	c.hello()
	if !f.did("disconnect") {
		t.Error("the process was not told that the client vanished")
	}
	if _, stopped := f.Stopped(); !stopped {
		t.Error("the process does not stand still any more")
	}
	c.want("D;64", "OK")
	c.want("?", "W00")
	if _, stopped := f.Stopped(); stopped {
		t.Error("the process stands still after D")
	}
	c.conn.Close()

	c = dial()
	c.hello()
	if got := c.ask("?"); !strings.HasPrefix(got, "T05") {
		t.Errorf("the third client finds %q", got)
	}
}

// TestClientVanishesWhileRunning: half a packet, and the process runs on.
func TestClientVanishesWhileRunning(t *testing.T) {
	f := newFake()
	for _, tid := range f.order {
		f.regs[tid].Rip = spin
	}
	dial, _ := start(t, f)
	c := dial()
	c.hello()
	c.send("vCont;c")
	io.WriteString(c.conn, "$m4000")
	c.conn.Close()
	c = dial()
	c.hello()
	if got := c.ask("?"); !strings.HasPrefix(got, "T05") {
		t.Errorf("the next client finds %q", got)
	}
	if got := strings.Join(f.log, " "); got != "disconnect halt" {
		t.Errorf("the process saw %q", got)
	}
}

// TestSecondClient is refused at once, and the first one goes on.
func TestSecondClient(t *testing.T) {
	dial, _ := start(t, newFake())
	c := dial()
	c.hello()
	second := dial()
	if got := second.ask("qSupported:swbreak+"); !strings.HasPrefix(got, "E.another debugger is connected: from 127.0.0.1") {
		t.Errorf("a second client is told %q", got)
	}
	if _, err := second.r.ReadByte(); err == nil {
		t.Error("the second client's connection stays")
	}
	c.want("qC", "QCp64.64")
}

// TestKill: vKill is answered when the process is gone; k has no answer.
func TestKill(t *testing.T) {
	for _, packet := range []string{"vKill;64", "k"} {
		c, done := connected(t, newFake())
		c.want("vKill;65", "E.no process 101 here")
		c.send(packet)
		if packet != "k" {
			if got := c.receive(); got != "OK" {
				t.Errorf("%s → %q", packet, got)
			}
		}
		if b, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after %s: %q, %v", packet, b, err)
		}
		c.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestProcessEndsWithoutClient ends the server.
func TestProcessEndsWithoutClient(t *testing.T) {
	f := newFake()
	_, done := start(t, f)
	f.Kill()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestExtendedRemote: '!' is granted.
func TestExtendedRemote(t *testing.T) {
	c, _ := connected(t, newFake())
	c.want("!", "OK")
}

// TestEndWhileStopped: a client that did not wait is told of the process's end when it wants it to go on.
func TestEndWhileStopped(t *testing.T) {
	for _, packet := range []string{"c", "C05", "s", "S05", "vCont;c", "?"} {
		f := newFake()
		c, done := connected(t, f)
		f.Kill()
		if got := c.ask(packet); got != "X09;process:64" {
			t.Errorf("%s → %q", packet, got)
		}
		if b, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after the reply to %s: %q, %v", packet, b, err)
		}
		c.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
