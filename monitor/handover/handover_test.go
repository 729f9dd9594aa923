package handover

import (
	"bytes"
	"slices"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	var w Writer
	w.Uint(1 << 63)
	w.Int(-5)
	w.Bool(true)
	w.Blob([]byte{1, 2, 3})
	w.String("")
	w.Strings([]string{"a", "", "bc"})
	w.Uints(7, 8)
	r := NewReader(w.Bytes())
	if v := r.Uint(); v != 1<<63 {
		t.Error(v)
	}
	if v := r.Int(); v != -5 {
		t.Error(v)
	}
	if !r.Bool() {
		t.Error("Bool")
	}
	if v := r.Blob(); !bytes.Equal(v, []byte{1, 2, 3}) {
		t.Error(v)
	}
	if v := r.String(); v != "" {
		t.Error(v)
	}
	if v := r.Strings(); !slices.Equal(v, []string{"a", "", "bc"}) {
		t.Error(v)
	}
	if r.Uint() != 7 || r.Err() != nil {
		t.Error(r.Err())
	}
	if r.End() == nil {
		t.Error("End says nothing of what is left")
	}
}

// TestTruncated cuts a state everywhere: an error each time, and zeroes.
func TestTruncated(t *testing.T) {
	var w Writer
	w.Strings([]string{"one", "two"})
	w.Blob(make([]byte, 20))
	for n := range w.Bytes() {
		r := NewReader(w.Bytes()[:n])
		r.Strings()
		r.Blob()
		if r.End() == nil || r.Uint() != 0 {
			t.Errorf("cut at %d: %v", n, r.Err())
		}
	}
}

// FuzzReader: no state makes a reader panic or take more memory than the state has.
func FuzzReader(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		if got := len(r.Strings()); got > len(b) {
			t.Errorf("%d strings from %d bytes", got, len(b))
		}
		r.Blob()
		r.Uint()
		if r.Err() != nil && r.Uint() != 0 {
			t.Error("a number after an error")
		}
	})
}
