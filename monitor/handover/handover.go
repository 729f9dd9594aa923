// Package handover is the encoding in which one monitor leaves a payload process's state to the next: the same binary,
// started again in a forked child or by the payload's execve. Both ends are of one version, so there are no tags: the
// reader asks for what the writer wrote, in that order.
package handover

import (
	"encoding/binary"
	"errors"
)

// Writer builds a state. The zero value is ready.
type Writer struct{ b []byte }

// Bytes is what was written so far.
func (w *Writer) Bytes() []byte { return w.b }

// Uint writes a number.
func (w *Writer) Uint(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }

// Uints writes numbers whose count the reader knows.
func (w *Writer) Uints(list ...uint64) {
	for _, v := range list {
		w.Uint(v)
	}
}

// Int writes a signed number.
func (w *Writer) Int(v int) { w.Uint(uint64(int64(v))) }

// Bool writes a truth value.
func (w *Writer) Bool(v bool) {
	if v {
		w.Uint(1)
	} else {
		w.Uint(0)
	}
}

// Blob writes bytes and their count.
func (w *Writer) Blob(p []byte) {
	w.Uint(uint64(len(p)))
	w.b = append(w.b, p...)
}

// String writes a string.
func (w *Writer) String(s string) {
	w.Uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

// Strings writes a list of strings.
func (w *Writer) Strings(list []string) {
	w.Int(len(list))
	for _, s := range list {
		w.String(s)
	}
}

// Reader takes a state apart. After an error, which Err gives, everything read is zero.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads state, which must stay as it is.
func NewReader(state []byte) *Reader { return &Reader{b: state} }

var (
	errShort = errors.New("handover: the state that the monitor before has left ends too early")
	errRest  = errors.New("handover: the state that the monitor before has left goes on where this one expects its end")
)

// Err is the first error, nil if there was none.
func (r *Reader) Err() error { return r.err }

// End is Err, and an error if something is left.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errRest
	}
	return r.err
}

func (r *Reader) take(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err, r.b = errShort, nil
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// Uint reads a number.
func (r *Reader) Uint() uint64 {
	p := r.take(8)
	if p == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}

// Int reads a signed number.
func (r *Reader) Int() int { return int(int64(r.Uint())) }

// Bool reads a truth value.
func (r *Reader) Bool() bool { return r.Uint() != 0 }

// Blob reads bytes. They are a part of the state that NewReader was given.
func (r *Reader) Blob() []byte { return r.take(r.Uint()) }

// String reads a string.
func (r *Reader) String() string { return string(r.Blob()) }

// Count reads how many things follow that take at least size bytes each: a number that no state can keep is an error.
func (r *Reader) Count(size int) int {
	n := r.Uint()
	if r.err == nil && n > uint64(len(r.b)/size) {
		r.err, r.b = errShort, nil
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// Strings reads a list of strings.
func (r *Reader) Strings() []string {
	list := make([]string, r.Count(8))
	for i := range list {
		list[i] = r.String()
	}
	return list
}
