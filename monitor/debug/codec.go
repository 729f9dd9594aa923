package debug

import (
	"encoding/binary"
	"errors"
)

// codec turns message bodies into bytes and back. Each message has one fields method, which names its fields in order;
// run over an encoder it appends them, over a decoder it fills them in. Integers are little-endian, slices and strings
// have a 32-bit length. After an error a decoder leaves zero values.
type codec struct {
	buf      []byte // encoder: what was appended; decoder: what is left
	decoding bool
	err      error
}

// message is a body.
type message interface {
	fields(c *codec)
}

var errMalformed = errors.New("malformed debug message")

func encode(buf []byte, m message) []byte {
	c := codec{buf: buf}
	m.fields(&c)
	return c.buf
}

// decode fills m in from body. Bytes left over are an error.
func decode(body []byte, m message) error {
	c := codec{buf: body, decoding: true}
	m.fields(&c)
	if c.err == nil && len(c.buf) != 0 {
		return errMalformed
	}
	return c.err
}

// take gives the next n bytes of a decoder, nil when there are fewer.
func (c *codec) take(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.buf) {
		c.err = errMalformed
		return nil
	}
	p := c.buf[:n:n]
	c.buf = c.buf[n:]
	return p
}

func (c *codec) u8(v *uint8) {
	if !c.decoding {
		c.buf = append(c.buf, *v)
	} else if p := c.take(1); p != nil {
		*v = p[0]
	}
}

func (c *codec) u32(v *uint32) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, *v)
	} else if p := c.take(4); p != nil {
		*v = binary.LittleEndian.Uint32(p)
	}
}

func (c *codec) u64(v *uint64) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *v)
	} else if p := c.take(8); p != nil {
		*v = binary.LittleEndian.Uint64(p)
	}
}

// num is an int that fits 32 bits: a tid, a signal, a system call's number.
func (c *codec) num(v *int) {
	u := uint32(int32(*v))
	c.u32(&u)
	if c.decoding {
		*v = int(int32(u))
	}
}

func (c *codec) boolean(v *bool) {
	var u uint8
	if *v {
		u = 1
	}
	c.u8(&u)
	if c.decoding {
		*v = u == 1
		if u > 1 {
			c.err = errMalformed
		}
	}
}

func (c *codec) fixed(p []byte) {
	if !c.decoding {
		c.buf = append(c.buf, p...)
	} else if q := c.take(len(p)); q != nil {
		copy(p, q)
	}
}

// bytes decodes into a slice of the message's own buffer.
func (c *codec) bytes(p *[]byte) {
	n := uint32(len(*p))
	c.u32(&n)
	if !c.decoding {
		c.buf = append(c.buf, *p...)
	} else {
		*p = c.take(int(n))
	}
}

func (c *codec) str(s *string) {
	p := []byte(*s)
	c.bytes(&p)
	if c.decoding {
		*s = string(p)
	}
}

// list is a slice whose elements are encoded by each.
func list[T any](c *codec, s *[]T, each func(*codec, *T)) {
	n := uint32(len(*s))
	c.u32(&n)
	if c.decoding {
		if int(n) > len(c.buf) { // every element takes a byte at least
			c.err = errMalformed
			return
		}
		*s = make([]T, n)
	}
	for i := range *s {
		each(c, &(*s)[i])
		if c.err != nil {
			*s = nil
			return
		}
	}
}
