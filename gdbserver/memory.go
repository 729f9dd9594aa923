package gdbserver

import (
	"bytes"
	"fmt"
	"sync"
)

var memoryPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"m":       {serve: readHex, data: true},
		"M":       {serve: writeHex},
		"x":       {serve: readBinary, data: true},
		"X":       {serve: writeBinary},
		"qSearch": {serve: search},
		"qCRC":    {serve: crc},
	}
})

// The most that fits one reply; binary data may double by escapes.
const maxRead = (packetSize - 16) / 2

// read gives n bytes of memory or what there is before a hole, which must be something.
func (s *session) read(addr uint64, n int) ([]byte, error) {
	p := make([]byte, min(n, maxRead))
	got, err := s.proc.ReadMemory(addr, p)
	if got > 0 {
		return p[:got], nil
	}
	return nil, err
}

// readHex: m ADDR,LENGTH.
func readHex(s *session, a *args) ([]byte, error) {
	addr, n := a.addrLength()
	if !a.done() || n == 0 {
		return nil, errSyntax
	}
	p, err := s.read(addr, n)
	if err != nil {
		return nil, err
	}
	return appendHex(make([]byte, 0, 2*len(p)), p), nil
}

func (a *args) addrLength() (addr uint64, n int) {
	addr = a.hex()
	a.want(",")
	return addr, int(min(a.hex(), 1<<40))
}

// readBinary: x ADDR,LENGTH. gdb wants a 'b' first and knows by binary-upload+ that it gets it; lldb wants the
// bytes alone and asks for none of them to see if the packet exists.
func readBinary(s *session, a *args) ([]byte, error) {
	addr, n := a.addrLength()
	if !a.done() {
		return nil, errSyntax
	}
	if n == 0 {
		if s.client.binaryUpload {
			return []byte("b"), nil
		}
		return okReply, nil
	}
	p, err := s.read(addr, n)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(p)+len(p)/8+1)
	if s.client.binaryUpload {
		out = append(out, 'b')
	}
	return appendEscaped(out, p), nil
}

// writeHex: M ADDR,LENGTH:DATA.
func writeHex(s *session, a *args) ([]byte, error) {
	addr, n := a.addrLength()
	a.want(":")
	return s.write(addr, n, a.hexBytes(), a)
}

// writeBinary: X ADDR,LENGTH:DATA. Length 0 asks if the packet exists.
func writeBinary(s *session, a *args) ([]byte, error) {
	addr, n := a.addrLength()
	a.want(":")
	return s.write(addr, n, a.binary(), a)
}

func (s *session) write(addr uint64, n int, data []byte, a *args) ([]byte, error) {
	if !a.done() || n != len(data) {
		return nil, errSyntax
	}
	_, err := s.proc.WriteMemory(addr, data)
	return ok(err)
}

// search: qSearch:memory:ADDR;LENGTH;PATTERN → 0, or 1,ADDR.
func search(s *session, a *args) ([]byte, error) {
	a.want(":memory:")
	addr := a.hex()
	a.want(";")
	n := a.hex()
	a.want(";")
	pattern := a.binary()
	if !a.done() || len(pattern) == 0 {
		return nil, errSyntax
	}
	at, found, err := s.find(addr, n, pattern)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return []byte("0"), nil
	}
	return fmt.Appendf(nil, "1,%x", at), nil
}

// find looks for a pattern that lies wholly in the n bytes at addr.
func (s *session) find(addr, n uint64, pattern []byte) (uint64, bool, error) {
	if n > -addr && addr != 0 {
		n = -addr // up to the end of the address space
	}
	const piece = 1 << 20
	buf := make([]byte, 0, piece+len(pattern))
	for n > 0 {
		old := len(buf)
		buf = buf[:old+int(min(n, piece))]
		if _, err := s.proc.ReadMemory(addr, buf[old:]); err != nil {
			return 0, false, err
		}
		if i := bytes.Index(buf, pattern); i >= 0 {
			return addr - uint64(old) + uint64(i), true, nil
		}
		addr += uint64(len(buf) - old)
		n -= uint64(len(buf) - old)
		keep := min(len(pattern)-1, len(buf))
		buf = buf[:copy(buf, buf[len(buf)-keep:])]
	}
	return 0, false, nil
}

// crcTable is the CRC-32 of qCRC: polynomial 0x04c11db7, most significant bit first, initially all ones, not inverted.
var crcTable = sync.OnceValue(func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			carry := c >> 31
			c = c<<1 ^ carry*0x04c11db7
		}
		t[i] = c
	}
	return t
})

// crc: qCRC:ADDR,LENGTH → C and the sum.
func crc(s *session, a *args) ([]byte, error) {
	a.want(":")
	addr := a.hex()
	a.want(",")
	n := a.hex()
	if !a.done() {
		return nil, errSyntax
	}
	sum, table := ^uint32(0), crcTable()
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		p := buf[:min(n, uint64(len(buf)))]
		if _, err := s.proc.ReadMemory(addr, p); err != nil {
			return nil, err
		}
		for _, b := range p {
			sum = sum<<8 ^ table[byte(sum>>24)^b]
		}
		addr += uint64(len(p))
		n -= uint64(len(p))
	}
	return fmt.Appendf(nil, "C%x", sum), nil
}
