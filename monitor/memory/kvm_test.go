package memory

import (
	"testing"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

const ret = 0xc3

// access is what a payload does at an address and what must come of it.
type access struct {
	what string
	do   func(c *cpu, addr uint64) outcome
}

var (
	load  = access{"load", func(c *cpu, a uint64) outcome { _, o := c.load(a); return o }}
	store = access{"store", func(c *cpu, a uint64) outcome { return c.store(a, ret) }}
	fetch = access{"fetch", func(c *cpu, a uint64) outcome { return c.call(a) }}
)

// expect runs load, store and call at addr, which must hold RET, and compares what comes of them.
func (c *cpu) expect(when string, addr uint64, onLoad, onStore, onCall outcome) {
	c.r.t.Helper()
	for i, a := range []access{load, store, fetch} {
		want := []outcome{onLoad, onStore, onCall}[i]
		if got := a.do(c, addr); got != want {
			c.r.t.Errorf("%s: %s at %#x: %+v, want %+v", when, a.what, addr, got, want)
		}
	}
}

func (c *cpu) expectProt(when string, addr uint64, prot uint32) {
	c.r.t.Helper()
	result := func(need uint32) outcome {
		if allows(prot, need) {
			return resolved
		}
		return accErr
	}
	c.expect(when, addr, result(protRead), result(protWrite), result(protExec))
}

// TestExactFaults goes through every change of protection of a page that the guest has in its TLB.
func TestExactFaults(t *testing.T) {
	r := newRig(t)
	c := r.cpu()
	a := r.as.mustMap(t, 0, 4*pageSize, rwx, private)
	if e := usermem.CopyOut(a+pageSize, []byte{ret}); e != 0 {
		t.Fatal(e)
	}
	p := a + pageSize
	c.expectProt("rwx", p, rwx)
	prots := []uint32{0, unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC, rw, rx, rwx, unix.PROT_WRITE | unix.PROT_EXEC}
	for _, from := range prots {
		for _, to := range prots {
			for _, prot := range []uint32{from, to} {
				if e := errno(r.as.Mprotect(p, pageSize, uint64(prot))); e != 0 {
					t.Fatal(e)
				}
				c.expectProt("mprotect", p, prot)
			}
			checkInvariants(t, r.as, nil)
		}
	}
	r.as.Mprotect(p, pageSize, rwx)
	c.expectProt("again", p, rwx)
	r.as.Munmap(p, pageSize)
	c.expect("munmap", p, mapErr, mapErr, mapErr)
	if b, o := c.load(a); o != resolved || b != 0 {
		t.Errorf("neighbour: %d %+v", b, o)
	}
	checkInvariants(t, r.as, nil)
}
