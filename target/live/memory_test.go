package live_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"kmdev/target"
	"kmdev/target/live"
)

// TestMemory: directly and through the channel alike, reads and writes reach every page there is, stop at holes, go
// through protections, and never show or harm a breakpoint.
func TestMemory(t *testing.T) { onEach(t, testMemory) }

func testMemory(t *testing.T, b backEnd) {
	for _, direct := range []bool{true, false} {
		name := "direct"
		if !direct {
			name = "channel"
		}
		t.Run(name, func(t *testing.T) {
			p := b(t, nil, os.Stdout, build(t, "simple.c", "-static"), nil)
			started(t, p)
			if !direct {
				p.RefuseDirect()
			}
			maps, err := p.Maps()
			if err != nil || len(maps) < 4 {
				t.Fatalf("maps %v, %v", maps, err)
			}
			checkText(t, p, maps)
			checkHole(t, p, maps)
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			last := target.Event{}
			for e := range p.Events() {
				last = e
			}
			if sig, _ := last.Status.Signaled(); last.Kind != target.EventExited || sig != 9 {
				t.Errorf("the end is %+v", last)
			}
		})
	}
}

// started waits for the stop at the program's first instruction.
func started(t *testing.T, p target.Controller) {
	t.Helper()
	if e := <-p.Events(); e.Kind != target.EventStopped || e.Stop.Reason != target.StopStart {
		t.Fatalf("first event %+v", e)
	}
}

// checkText works on the program's text, which the payload itself can't write to.
func checkText(t *testing.T, p interface {
	target.Controller
	Int3s(uint64, int) int
}, maps []target.Mapping) {
	t.Helper()
	var text target.Mapping
	for _, m := range maps {
		if m.Prot == target.Read|target.Exec && text.End == 0 {
			text = m
		}
	}
	before := make([]byte, 256)
	if n, err := p.ReadMemory(text.Start, before); n != 256 || err != nil {
		t.Fatalf("text: %d, %v", n, err)
	}
	base := p.Int3s(text.Start, 256)
	at := target.Breakpoint{Kind: target.Software, Addr: text.Start + 100}
	for range 2 { // the second time says nothing
		if err := p.InsertBreakpoint(at); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Int3s(text.Start, 256); n != base+1 {
		t.Errorf("%d INT3s in the text with a breakpoint, %d without", n, base)
	}
	after := make([]byte, 256)
	p.ReadMemory(text.Start, after)
	if !bytes.Equal(before, after) {
		t.Error("a read shows the breakpoint")
	}
	want := bytes.Repeat([]byte{0x90}, 32)
	if n, err := p.WriteMemory(text.Start+90, want); n != 32 || err != nil {
		t.Errorf("writing text: %d, %v", n, err)
	}
	if n := p.Int3s(text.Start+90, 32); n != 1 {
		t.Errorf("%d INT3s after writing over the breakpoint", n)
	}
	if p.ReadMemory(text.Start+90, after[:32]); !bytes.Equal(after[:32], want) {
		t.Errorf("text reads %x", after[:32])
	}
	if err := p.RemoveBreakpoint(at); err != nil {
		t.Error(err)
	}
	if n := p.Int3s(text.Start+90, 32); n != 0 {
		t.Errorf("%d INT3s after removing the breakpoint", n)
	}
	if err := p.RemoveBreakpoint(at); err != nil {
		t.Errorf("removing it twice: %v", err)
	}
}

// checkHole reads and writes across the end of the last mapping before a hole, and in the hole.
func checkHole(t *testing.T, p target.Controller, maps []target.Mapping) {
	t.Helper()
	var edge target.Mapping
	for i, m := range maps[:len(maps)-1] {
		if m.Prot == target.Read|target.Write && maps[i+1].Start > m.End+0x10000 {
			edge = m
		}
	}
	if edge.End == 0 {
		t.Fatalf("no hole in %v", maps)
	}
	buf := make([]byte, 64)
	var hole *target.MemoryError
	if n, err := p.ReadMemory(edge.End-40, buf); n != 40 || !errors.As(err, &hole) || hole.Addr != edge.End {
		t.Errorf("reading into a hole: %d, %v", n, err)
	}
	if n, err := p.WriteMemory(edge.End-40, buf); n != 40 || !errors.As(err, &hole) || hole.Addr != edge.End {
		t.Errorf("writing into a hole: %d, %v", n, err)
	}
	for _, addr := range []uint64{edge.End, 0, 1 << 47, ^uint64(0) - 10} {
		if n, err := p.ReadMemory(addr, buf); n != 0 || !errors.As(err, &hole) || hole.Addr != addr {
			t.Errorf("reading %#x: %d, %v", addr, n, err)
		}
		if n, err := p.WriteMemory(addr, buf); n != 0 || !errors.As(err, &hole) {
			t.Errorf("writing %#x: %d, %v", addr, n, err)
		}
		if err := p.InsertBreakpoint(target.Breakpoint{Addr: addr}); !errors.As(err, &hole) {
			t.Errorf("a breakpoint at %#x: %v", addr, err)
		}
	}
}

// TestUsage: the figures are the host's, and add up.
func TestUsage(t *testing.T) { onEach(t, testUsage) }

func testUsage(t *testing.T, b backEnd) {
	p := b(t, nil, os.Stdout, build(t, "simple.c", "-static"), nil)
	started(t, p)
	usage, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	var stack, rss uint64
	for _, u := range usage {
		rss += u.KB["Rss"]
		if u.KB["Rss"] > (u.End-u.Start)/1024 {
			t.Errorf("%s takes %d kB", &u.Mapping, u.KB["Rss"])
		}
		if u.Name == "[stack]" {
			stack = u.KB["Anonymous"]
		}
	}
	if stack == 0 || rss < stack {
		t.Errorf("the stack takes %d kB, all %d", stack, rss)
	}
	p.Kill()
}

func TestParseSmaps(t *testing.T) {
	const smaps = "00400000-00401000 r--p 00000000 fe:00 1  /bin/x\nSize:    4 kB\nRss:   3 kB\nTHPeligible: 0\nVmFlags: rd mr\n" +
		"00401000-00403000 rw-p 00000000 00:00 0\nSize:    8 kB\nRss:    7 kB\nnonsense\n\nRss: x kB\n"
	got := live.ParseSmaps([]byte(smaps), "Rss")
	if len(got) != 2 || got[0] != 3 || got[1] != 7 {
		t.Errorf("Rss %v", got)
	}
}

func FuzzParseSmaps(f *testing.F) {
	f.Add([]byte("00400000-00401000 r--p 00000000 fe:00 1\nRss: 3 kB\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { live.ParseSmaps(text, "Rss") })
}
