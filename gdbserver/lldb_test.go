package gdbserver

import (
	"strings"
	"testing"

	"kmdev/target"
)

// TestLLDB: what lldb asks for, and that a stop has the reason without which it would resume the process.
func TestLLDB(t *testing.T) {
	f := newFake()
	c, _ := connected(t, f)
	if got := c.ask("?"); strings.Contains(got, "reason:") {
		t.Errorf("gdb is told %q", got)
	}
	c.want("QEnableErrorStrings", "OK")
	for _, ask := range []struct{ packet, start, part string }{
		{"qHostInfo", "triple:7838365f36342d70632d6c696e75782d676e75;ostype:linux;ptrsize:8;endian:little;", "vm-page-size:4096;"},
		{"qProcessInfo", "pid:64;", "ostype:linux;ptrsize:8;"},
		{"qHostInfo;", "E16;", ""},
		{"qMemoryRegionInfo:400010", "start:400000;size:1000;permissions:rx;name:", ""},
		{"qMemoryRegionInfo:600000", "start:600000;size:2000;permissions:rw;", ""},
		{"qMemoryRegionInfo:0", "start:0;size:400000;", ""},
		{"qMemoryRegionInfo:401000", "start:401000;size:1ff000;", ""},
		{"qMemoryRegionInfo:602000", "start:602000;size:ffffffffff9fdfff;", ""},
		{"qMemoryRegionInfo:x", "E16;", ""},
		{"qShlibInfoAddr", "E", ""}, // the fake has no ELF headers
		{"?", "T02reason:signal;", "thread:p64.64;"},
		{"vCont;s:64", "T05reason:trace;", ""},
	} {
		if got := c.ask(ask.packet); !strings.HasPrefix(got, ask.start) || !strings.Contains(got, ask.part) {
			t.Errorf("%s → %q, want %q … %q", ask.packet, got, ask.start, ask.part)
		}
	}
	c.want("Z0,400010,1", "OK")
	if got := c.ask("vCont;c"); !strings.HasPrefix(got, "T05swbreak:;reason:breakpoint;") {
		t.Errorf("at a breakpoint lldb is told %q", got)
	}
	for reason := target.StopInterrupt; reason <= target.StopCreated; reason++ {
		if reason != target.StopWatch && lldbReasons()[reason] == "" { // watch, rwatch, awatch are reasons of their own
			t.Errorf("stop reason %d has no name for lldb", reason)
		}
	}
}
