package gdbserver

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

// maxPacket bounds what one packet of a client may take; PacketSize, which clients keep to, is below it.
const (
	packetSize = 1 << 20
	maxPacket  = 2*packetSize + 4096
)

// conn is a client's connection. One goroutine reads (read), another writes packets (send).
type conn struct {
	rw    io.ReadWriteCloser
	noAck atomic.Bool
	log   func(direction string, packet []byte)

	mu   sync.Mutex
	last []byte // the last packet sent, for a client that asks for it again
}

// input is what a client sent: a packet or an interrupt; err when it is gone.
type input struct {
	packet    []byte
	interrupt bool
	tooLong   bool
	err       error
}

// read parses what arrives until the connection ends, and hands it out. quit ends it early.
func (c *conn) read(out chan<- input, quit <-chan struct{}) {
	r := bufio.NewReaderSize(c.rw, 64<<10)
	for {
		in, ok := c.next(r)
		if !ok {
			continue
		}
		select {
		case out <- in:
		case <-quit:
			return
		}
		if in.err != nil {
			return
		}
	}
}

// next reads up to the end of one packet or to one character outside of packets.
func (c *conn) next(r *bufio.Reader) (in input, ok bool) {
	b, err := r.ReadByte()
	if err != nil {
		return input{err: err}, true
	}
	switch b {
	case frameStart:
		return c.packet(r)
	case interrupt:
		return input{interrupt: true}, true
	case nakByte:
		c.resend()
	}
	return input{}, false
}

// packet reads the rest of a packet.
func (c *conn) packet(r *bufio.Reader) (input, bool) {
	body, long, err := readBody(r)
	if err != nil {
		return input{err: err}, true
	}
	var sum [2]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return input{err: err}, true
	}
	if !c.noAck.Load() {
		hi, lo := hexValue(sum[0]), hexValue(sum[1])
		if !long && (hi < 0 || lo < 0 || byte(hi<<4|lo) != checksum(body)) {
			c.write([]byte{nakByte})
			return input{}, false
		}
		c.write([]byte{ackByte})
	}
	return input{packet: body, tooLong: long}, true
}

// readBody reads up to '#'. A body longer than maxPacket is read but not kept.
func readBody(r *bufio.Reader) (body []byte, long bool, err error) {
	for {
		part, err := r.ReadSlice(frameEnd)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, false, err
		}
		if len(body)+len(part) > maxPacket {
			long, body = true, nil
		}
		if !long {
			body = append(body, part...)
		}
		if err == nil {
			return body[:max(len(body)-1, 0)], long, nil
		}
	}
}

// send writes a packet with that escaped body.
func (c *conn) send(body []byte) error {
	if c.log != nil {
		c.log("->", body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = appendFrame(c.last[:0], body)
	_, err := c.rw.Write(c.last)
	return err
}

// resend repeats the last packet.
func (c *conn) resend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) > 0 {
		c.rw.Write(c.last)
	}
}

// write sends an acknowledgement.
func (c *conn) write(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rw.Write(p)
}
