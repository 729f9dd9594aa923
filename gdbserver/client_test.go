package gdbserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
)

// client speaks RSP to a server, as gdb does.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	acks bool
}

// start serves a process on a free port and gives how to connect.
func start(t *testing.T, f *fake) (dial func() *client, done <-chan error) {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	end := make(chan error, 1)
	go func() { end <- Serve(ctx, l, f, Options{}) }()
	return func() *client {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &client{t: t, conn: conn, r: bufio.NewReader(conn), acks: true}
	}, end
}

// connected is a client that has said what gdb 13 says.
func connected(t *testing.T, f *fake) (*client, <-chan error) {
	t.Helper()
	dial, done := start(t, f)
	c := dial()
	c.hello()
	return c, done
}

func (c *client) hello() {
	c.t.Helper()
	c.ask("qSupported:multiprocess+;swbreak+;hwbreak+;no-resumed+;xmlRegisters=i386")
	c.want("QStartNoAckMode", "OK")
	c.acks = false
}

func (c *client) send(packet string) {
	body := []byte(packet)
	fmt.Fprintf(c.conn, "$%s#%02x", body, checksum(body))
}

// receive reads a packet and undoes its run-length encoding.
func (c *client) receive() string {
	c.t.Helper()
	body, err := readReply(c.r)
	if err != nil {
		c.t.Fatalf("reading a reply: %v", err)
	}
	if c.acks {
		c.conn.Write([]byte{ackByte})
	}
	return string(body)
}

// readReply checks that what the server sends is well formed.
func readReply(r *bufio.Reader) ([]byte, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b == frameStart {
			break
		}
		if b != ackByte {
			return nil, fmt.Errorf("byte %q between packets", b)
		}
	}
	raw, err := r.ReadBytes(frameEnd)
	if err != nil {
		return nil, err
	}
	raw = raw[:len(raw)-1]
	sum := make([]byte, 2)
	if _, err := io.ReadFull(r, sum); err != nil {
		return nil, err
	}
	if want := fmt.Sprintf("%02x", checksum(raw)); want != string(sum) {
		return nil, fmt.Errorf("checksum of %q is %s, not %s", raw, want, sum)
	}
	return expandRuns(raw)
}

func expandRuns(raw []byte) ([]byte, error) {
	var out []byte
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == frameStart:
			return nil, fmt.Errorf("'$' inside %q", raw)
		case raw[i] != runByte:
			out = append(out, raw[i])
		case i == 0 || i+1 == len(raw) || raw[i+1] < ' ' || raw[i+1] > '~':
			return nil, fmt.Errorf("a run at %d in %q", i, raw)
		default:
			i++
			out = append(out, bytes.Repeat(out[len(out)-1:], int(raw[i])-runBias)...)
		}
	}
	return out, nil
}

// ask sends a packet and gives its reply.
func (c *client) ask(packet string) string {
	c.t.Helper()
	c.send(packet)
	return c.receive()
}

func (c *client) want(packet, reply string) {
	c.t.Helper()
	if got := c.ask(packet); got != reply {
		c.t.Errorf("%s → %q, want %q", packet, got, reply)
	}
}
