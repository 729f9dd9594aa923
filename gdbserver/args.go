package gdbserver

import "bytes"

// args is a packet's text behind its name, taken apart strictly: the first thing that is not as expected makes it bad, and
// whatever is taken after that is zero.
type args struct {
	b   []byte
	bad bool
}

func (a *args) fail() {
	a.bad = true
	a.b = nil
}

// is takes the text s if it comes next, and tells so.
func (a *args) is(s string) bool {
	if !bytes.HasPrefix(a.b, []byte(s)) {
		return false
	}
	a.b = a.b[len(s):]
	return true
}

// want takes s, which must come next.
func (a *args) want(s string) {
	if !a.is(s) {
		a.fail()
	}
}

// hex takes a hexadecimal number of 1 to 16 digits.
func (a *args) hex() uint64 {
	var v uint64
	n := 0
	for n < len(a.b) && n <= 16 {
		d := hexValue(a.b[n])
		if d < 0 {
			break
		}
		v = v<<4 | uint64(d)
		n++
	}
	if n == 0 || n > 16 {
		a.fail()
		return 0
	}
	a.b = a.b[n:]
	return v
}

// length takes a hexadecimal number that must not exceed limit.
func (a *args) length(limit uint64) int {
	v := a.hex()
	if v > limit {
		a.fail()
		return 0
	}
	return int(v)
}

// until takes the text before the next sep, which it takes too and which must be there.
func (a *args) until(sep byte) []byte {
	i := bytes.IndexByte(a.b, sep)
	if i < 0 {
		a.fail()
		return nil
	}
	p := a.b[:i]
	a.b = a.b[i+1:]
	return p
}

// rest takes everything.
func (a *args) rest() []byte {
	p := a.b
	a.b = nil
	return p
}

// hexBytes takes everything, which must be pairs of hexadecimal digits.
func (a *args) hexBytes() []byte {
	p, ok := decodeHex(a.rest())
	if !ok {
		a.fail()
	}
	return p
}

// binary takes everything, which is escaped binary data.
func (a *args) binary() []byte {
	p, ok := unescape(a.rest())
	if !ok {
		a.fail()
	}
	return p
}

// done tells that the packet was well formed up to its end.
func (a *args) done() bool { return !a.bad && len(a.b) == 0 }

func decodeHex(p []byte) ([]byte, bool) {
	if len(p)%2 != 0 {
		return nil, false
	}
	out := make([]byte, len(p)/2)
	for i := range out {
		hi, lo := hexValue(p[2*i]), hexValue(p[2*i+1])
		if hi < 0 || lo < 0 {
			return nil, false
		}
		out[i] = byte(hi<<4 | lo)
	}
	return out, true
}

func appendHex(dst, data []byte) []byte {
	for _, b := range data {
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}
