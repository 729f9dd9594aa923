package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"kmdev/amdv"
)

var hint = regexp.MustCompile(`target remote ([^:"]+):(\d+)`)

// debug starts `kmdev run -g0` over argv and speaks the remote serial protocol
// to it: what a gdb session of breakpoints, steps, registers and memory sends.
// The transcript holds a line for each thing learnt.
func debug(ctx context.Context, argv []string, d amdv.Debug) (transcript []string, err error) {
	cmd := exec.CommandContext(ctx, amdv.KmdevFile, append([]string{"run", "-g0", "--"}, argv...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	lines := bufio.NewScanner(stderr)
	var m []string
	for m == nil && lines.Scan() {
		m = hint.FindStringSubmatch(lines.Text())
	}
	if m == nil {
		return nil, errors.New("kmdev run -g0 printed no port")
	}
	go func() {
		for lines.Scan() {
		}
	}()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+m[2])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	c := &client{conn: conn, in: bufio.NewReader(conn)}
	c.converse(d)
	return c.transcript, c.err
}

// client is one RSP connection. After the first error every step does nothing.
type client struct {
	conn       net.Conn
	in         *bufio.Reader
	transcript []string
	err        error
}

func (c *client) say(format string, args ...any) {
	c.transcript = append(c.transcript, fmt.Sprintf(format, args...))
}

func (c *client) converse(d amdv.Debug) {
	c.ask("qSupported:multiprocess-;swbreak+;vContSupported+")
	c.want("OK", "QPassSignals:1e") // SIGUSR1 in gdb's numbering: not a stop
	c.say("first stop %s", kind(c.ask("?")))
	c.want("OK", fmt.Sprintf("Z0,%x,1", d.Breakpoint))
	c.want("OK", fmt.Sprintf("Z0,%x,1", d.Again))
	c.say("continued: %s", kind(c.ask("vCont;c")))
	c.at("breakpoint", d.Breakpoint)
	word := c.memory(d.Variable)
	c.say("variable %d", word)
	if word != d.Value && c.err == nil {
		c.err = fmt.Errorf("variable is %d, not %d", word, d.Value)
	}
	code := c.ask(fmt.Sprintf("m%x,1", d.Breakpoint))
	c.say("breakpoint is hidden: %t", code != "cc" && len(code) == 2)
	// A stub reports a breakpoint that it is asked to step from: take it away first, as gdb does.
	c.want("OK", fmt.Sprintf("z0,%x,1", d.Breakpoint))
	last := d.Breakpoint
	for range 5 {
		c.say("stepped: %s", kind(c.ask("vCont;s")))
		rip := c.rip()
		c.say("moved: %t", rip != last)
		last = rip
	}
	c.want("OK", fmt.Sprintf("M%x,4:%s", d.Variable, "efbeadde"))
	c.say("written %#x", c.memory(d.Variable))
	var back [4]byte
	binary.LittleEndian.PutUint32(back[:], d.Value)
	c.want("OK", fmt.Sprintf("M%x,4:%x", d.Variable, back))
	c.say("missing memory: %.1s", c.ask("m8,4"))
	c.say("continued: %s", kind(c.ask("vCont;c")))
	c.at("second breakpoint", d.Again)
	c.want("OK", fmt.Sprintf("z0,%x,1", d.Again))
	c.say("ended: %s", c.ask("vCont;c"))
}

// kind is the start of a stop reply that does not depend on the run: "T05".
func kind(reply string) string {
	if len(reply) > 3 && (reply[0] == 'T' || reply[0] == 'S') {
		return reply[:3]
	}
	return reply
}

func (c *client) at(what string, address uint64) {
	rip := c.rip()
	c.say("at %s: %t", what, rip == address)
	if rip != address && c.err == nil {
		c.err = fmt.Errorf("stopped at %#x, not at the %s %#x", rip, what, address)
	}
}

// rip is register 16 of x86-64's target description, in g's order.
func (c *client) rip() uint64 {
	raw, err := hex.DecodeString(c.ask("p10"))
	if err != nil || len(raw) != 8 {
		regs, err := hex.DecodeString(c.ask("g")[:17*16])
		if err != nil {
			c.err = errors.Join(c.err, err)
			return 0
		}
		raw = regs[16*8:]
	}
	return binary.LittleEndian.Uint64(raw)
}

func (c *client) memory(address uint64) uint32 {
	raw, err := hex.DecodeString(c.ask(fmt.Sprintf("m%x,4", address)))
	if err != nil || len(raw) != 4 {
		if c.err == nil {
			c.err = fmt.Errorf("can't read %#x: %v", address, err)
		}
		return 0
	}
	return binary.LittleEndian.Uint32(raw)
}

func (c *client) want(reply, packet string) {
	if got := c.ask(packet); got != reply && c.err == nil {
		c.err = fmt.Errorf("%s answered %q, not %q", packet, got, reply)
	}
}

// ask sends a packet and returns the reply, skipping console output ('O' packets).
func (c *client) ask(packet string) string {
	if c.err != nil {
		return strings.Repeat("0", 17*16)
	}
	var sum byte
	for i := range len(packet) {
		sum += packet[i]
	}
	if _, err := fmt.Fprintf(c.conn, "$%s#%02x", packet, sum); err != nil {
		c.err = fmt.Errorf("%s: %w", packet, err)
		return ""
	}
	for {
		reply, err := c.receive()
		if err != nil {
			c.err = fmt.Errorf("%s: %w", packet, err)
			return strings.Repeat("0", 17*16)
		}
		if strings.HasPrefix(reply, "O") && reply != "OK" {
			continue
		}
		return reply
	}
}

func (c *client) receive() (string, error) {
	if _, err := c.in.ReadString('$'); err != nil {
		return "", err
	}
	body, err := c.in.ReadString('#')
	if err != nil {
		return "", err
	}
	var sum [2]byte
	for i := range sum {
		if sum[i], err = c.in.ReadByte(); err != nil {
			return "", err
		}
	}
	body = strings.TrimSuffix(body, "#")
	want, err := strconv.ParseUint(string(sum[:]), 16, 8)
	if err != nil {
		return "", err
	}
	var got byte
	for i := range len(body) {
		got += body[i]
	}
	if got != byte(want) {
		return "", fmt.Errorf("bad checksum in %q", body)
	}
	_, err = c.conn.Write([]byte("+"))
	return expand(body), err
}

// expand undoes run-length encoding: "0* " is four zeros (gdb manual, "Packet Contents").
func expand(body string) string {
	var out strings.Builder
	for i := 0; i < len(body); i++ {
		if body[i] == '*' && i > 0 && i+1 < len(body) {
			out.WriteString(strings.Repeat(body[i-1:i], int(body[i+1])-29))
			i++
			continue
		}
		out.WriteByte(body[i])
	}
	return out.String()
}
