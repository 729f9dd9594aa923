package gdbserver

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// TestPackets: a packet and its whole reply, in a session like gdb 13's, all on one process stopped at its start.
func TestPackets(t *testing.T) {
	c, _ := connected(t, newFake())
	for _, p := range []struct{ packet, reply string }{
		// Threads.
		{"?", "T0506:0009600000000000;07:0008600000000000;10:0000400000000000;thread:p64.64;core:3;"},
		{"qC", "QCp64.64"},
		{"qfThreadInfo", "mp64.64,p64.65"},
		{"qsThreadInfo", "l"},
		{"qThreadExtraInfo,p64.65", hex.EncodeToString([]byte("fa<ke"))},
		{"Tp64.65", "OK"},
		{"Tp64.66", "E.no thread 102"},
		{"Tp63.65", "E.no process 99 here"},
		{"Hgp64.65", "OK"},
		{"p10", "0001400000000000"},
		{"Hgp0.0", "OK"},
		{"p10", "0000400000000000"},
		{"Hc-1", "OK"},
		{"Hgp-1.5", "E.malformed packet"},
		{"Hx1", "E.malformed packet"},
		// Registers.
		{"p39", "ffffffffffffffff"},
		{"P0=efbeadde00000000", "OK"},
		{"p0", "efbeadde00000000"},
		{"P0=12", "E.malformed packet"},
		{"P0", "E.malformed packet"},
		{"p95", "E01"},
		{"p", "E16"},
		{"P77=000000000000000000000000000000000000000000000000000000000000ff01", "OK"},
		{"p77", "000000000000000000000000000000000000000000000000000000000000ff01"},
		{"p20", "7f030000"},
		{"p38", "801f0000"},
		// Memory.
		{"m400010,4", "10111213"},
		{"m400ffe,10", "feff"},
		{"m500000,4", "E0e"},
		{"m400010,0", "E16"},
		{"mzz,4", "E16"},
		{"M600000,4:01020304", "OK"},
		{"M600000,4:010203", "E.malformed packet"},
		{"M500000,1:01", "E.cannot access memory at address 0x500000"},
		{"X600004,0:", "OK"},
		{"X600004,4:a}\x03}]z", "OK"},
		{"m600000,8", "010203046123" + "7d7a"},
		{"x600004,4", "ba}\x03}]z"},
		{"x600004,0", "b"},
		{"qSearch:memory:400000;1000;\x20\x21", "1,400020"},
		{"qSearch:memory:400000;1000;\x21\x20", "0"},
		{"qSearch:memory:3ffff0;1000;\x21\x20", "E.cannot access memory at address 0x3ffff0"},
		{"qSearch:memory:400000;1000;", "E.malformed packet"},
		{"qCRC:400031,9", "C376e6e7"}, // of "123456789": the check value of CRC-32/MPEG-2
		// Breakpoints.
		{"Z0,400010,1", "OK"},
		{"Z0,400010,1", "OK"},
		{"z0,400010,1", "OK"},
		{"z0,400010,1", "OK"},
		{"Z0,10,1", "E.cannot access memory at address 0x10"},
		{"Z1,400010,1", ""},
		{"Z2,600000,4", ""},
		{"Z9,600000,4", ""},
		{"Z0", "E.malformed packet"},
		// Queries.
		{"qAttached:64", "0"},
		{"qAttached:65", "E.no process 101 here"},
		{"qSymbol::", "OK"},
		{"qOffsets", ""},
		{"qTStatus", ""},
		{"vMustReplyEmpty", ""},
		{"QNonStop:0", "OK"},
		{"QNonStop:1", ""},
		{"vCont?", "vCont;c;C;s;S;t;r"},
		{"QThreadEvents:1", "OK"},
		{"QThreadEvents:2", "E.malformed packet"},
		{"QCatchSyscalls:1;6e", ""},
		{"qXfer:exec-file:read:64:0,1000", "l/bin/fake"},
		{"qXfer:exec-file:read:64:5,3", "mfak"},
		{"qXfer:exec-file:read:63:0,1000", "E.no process 99 here"},
		{"qXfer:auxv:read::0,1000", "l\x09" + strings.Repeat("\x00", 9) + "@" + strings.Repeat("\x00", 21)},
		{"qXfer:nothing:read::0,10", ""},
		{"qXfer:auxv:write::0:aa", ""},
		{"qXfer:features:read:other.xml:0,10", "E.there is no annex other.xml"},
		{"qXfer:libraries-svr4:read::0,1000", "l<library-list-svr4 version=\"1.0\"/>\n"},
		{"qXfer:siginfo:read::0,4", "m\x00\x00\x00\x00"},
		{"qXfer:siginfo:write::0:\x0b\x00\x00\x00", "4"},
		{"qXfer:siginfo:read::0,4", "m\x0b\x00\x00\x00"},
		{"qXfer:siginfo:write::7e:abcd", "E.a siginfo has 128 bytes"},
		{"qXfer:threads:read::0,1000", "l<?xml version=\"1.0\"?>\n<threads>\n" +
			"<thread id=\"p64.64\" core=\"3\" name=\"fa&lt;ke\" handle=\"0010600000000000\"/>\n" +
			"<thread id=\"p64.65\" core=\"3\" name=\"fa&lt;ke\" handle=\"0010600000000000\"/>\n</threads>\n"},
		{"qGetTLSAddr:p64.64,10,0", "E.the program's ELF headers can't be found in memory"},
		{"jThreadsInfo", ""},
		{"", ""},
		{"\x80\xff", ""},
	} {
		c.want(p.packet, p.reply)
	}
}

// TestRegistersAsAWhole: what G writes, g reads; a short G leaves the rest.
func TestRegistersAsAWhole(t *testing.T) {
	f := newFake()
	c, _ := connected(t, f)
	all := c.ask("g")
	if want := 2 * (16*8 + 8 + 7*4 + 80 + 32 + 256 + 4 + 3*8 + 256 + 512 + 64 + 1024 + 4); len(all) != want {
		t.Fatalf("g has %d digits, want %d", len(all), want)
	}
	changed := "efbe" + all[4:len(all)-8] + "04000000"
	c.want("G"+changed, "OK")
	c.want("g", changed)
	c.want("G1122334455667788", "OK")
	c.want("p0", "1122334455667788")
	c.want("p94", "04000000")
	c.want("G12345", "E.malformed packet")
}

func TestRunning(t *testing.T) {
	f := newFake()
	c, done := connected(t, f)
	at := func(reason string, rip uint64, tid int) string {
		var p [8]byte
		for i := range p {
			p[i] = byte(rip >> (8 * i))
		}
		return fmt.Sprintf("T05%s06:0009600000000000;07:0008600000000000;10:%x;thread:p64.%x;core:3;", reason, p, tid)
	}
	c.want("vCont;s:p64.65", at("", codeStart+0x101, fakeTid))
	c.want("vCont;r400101,400110:p64.65;c", at("", codeStart+0x110, fakeTid))
	c.want("Z0,400020,1", "OK")
	c.want("vCont;c:p64.-1", at("swbreak:;", codeStart+0x20, fakePid))
	c.want("Hcp64.65", "OK")
	c.want("s", at("", codeStart+0x111, fakeTid))
	c.want("S0b;400200", at("", codeStart+0x201, fakeTid))
	if got := f.resumed; len(got) != 1 || got[0] != (target.Action{Tid: fakeTid, Kind: target.Step, Signal: int(unix.SIGSEGV)}) {
		t.Errorf("S0b resumed %+v", got)
	}
	c.want("vCont;t", "N")
	for _, bad := range []string{"vCont", "vCont;", "vCont;x", "vCont;s:", "vCont;c:q", "vCont;r1:p64.64", "cxyz", "S"} {
		c.want(bad, "E.malformed packet")
	}
	c.want("Hgp64.64", "OK")
	c.want("P10=000f400000000000", "OK")
	c.want("vCont;C1f:p64.64", "W07;process:64")
	if got := f.resumed; len(got) != 1 || got[0] != (target.Action{Tid: fakePid, Signal: int(unix.SIGUSR2)}) {
		t.Errorf("C1f resumed %+v", got)
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("after the process's end the connection says %v", err)
	}
	c.conn.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve says %v", err)
	}
}

// TestInterrupt: 0x03 stops a spinning process, as does vCtrlC.
func TestInterrupt(t *testing.T) {
	f := newFake()
	c, _ := connected(t, f)
	for _, tid := range []int{fakePid, fakeTid} {
		f.regs[tid].Rip = spin
	}
	c.send("vCont;c")
	c.conn.Write([]byte{interrupt})
	if got := c.receive(); !strings.HasPrefix(got, "T02") {
		t.Errorf("an interrupted process says %q", got)
	}
	c.send("vCont;c")
	c.send("vCtrlC")
	if got := c.receive(); got != "OK" {
		t.Errorf("vCtrlC → %q", got)
	}
	if got := c.receive(); !strings.HasPrefix(got, "T02") {
		t.Errorf("an interrupted process says %q", got)
	}
	// While it runs, what needs it stopped fails and the rest works.
	c.send("vCont;c")
	c.want("p0", "E01")
	c.want("m400010,2", "1011")
	c.conn.Write([]byte{interrupt})
	c.receive()
}

func TestSignalNumbers(t *testing.T) {
	for linux := 1; linux <= 64; linux++ {
		if unix.Signal(linux) == unix.SIGSTKFLT {
			continue
		}
		if back, ok := fromGDB(toGDB(linux)); !ok || back != linux {
			t.Errorf("signal %d became gdb's %d and came back as %d", linux, toGDB(linux), back)
		}
	}
	for sig, want := range map[unix.Signal]int{unix.SIGBUS: 10, unix.SIGUSR1: 30, unix.SIGUSR2: 31, unix.SIGCHLD: 20, unix.SIGIO: 23,
		unix.SIGSYS: 12, unix.SIGPWR: 32, unix.SIGSTKFLT: 143, 32: 77, 34: 46, 63: 75, 64: 78} {
		if got := toGDB(int(sig)); got != want {
			t.Errorf("%v is gdb's %d, want %d", sig, got, want)
		}
	}
	f := newFake()
	c, _ := connected(t, f)
	c.want("QPassSignals:e;1e;97;", "OK")
	if f.pass != 1<<(unix.SIGALRM-1)|1<<(unix.SIGUSR1-1) {
		t.Errorf("signals passed: %#x", f.pass)
	}
	c.want("QPassSignals:", "OK")
	c.want("QPassSignals:zz", "E.malformed packet")
	c.want("QProgramSignals:b", "OK")
	c.want("D;64", "OK")
	if f.deliver != 1<<(unix.SIGSEGV-1) {
		t.Errorf("signals delivered at detach: %#x", f.deliver)
	}
}

// TestClients: features and error replies for each kind of client.
func TestClients(t *testing.T) {
	for _, k := range []struct {
		name, supported string
		has, hasNot     []string
		badMemory       string // reply to m
		badWrite        string // reply to M
		probe           string // reply to x of nothing
		step            string
	}{
		{"gdb 13", "multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386", []string{"swbreak+", "binary-upload+", "PacketSize=100000"},
			[]string{"error-message+"}, "E0e", "E.cannot access", "b", "T05swbreak:;"},
		{"gdb 17", "multiprocess+;swbreak+;error-message+", []string{"error-message+"}, nil, "E.cannot access", "E.cannot access", "b", "T05swbreak:;"},
		{"lldb 19", "xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+;vfork-events+", nil, []string{"swbreak+", "binary-upload+"},
			"E0e", "E0e", "OK", "T0506:"},
		{"old gdb", "", nil, []string{"swbreak+"}, "E0e", "E.cannot access", "b", "T0506:"},
	} {
		t.Run(k.name, func(t *testing.T) {
			f := newFake()
			dial, _ := start(t, f)
			c := dial()
			have := c.ask("qSupported:" + k.supported)
			for _, s := range k.has {
				if !strings.Contains(have, s) {
					t.Errorf("%q lacks %s", have, s)
				}
			}
			for _, s := range k.hasNot {
				if strings.Contains(have, s) {
					t.Errorf("%q has %s", have, s)
				}
			}
			for packet, want := range map[string]string{"m500000,4": k.badMemory, "M500000,1:00": k.badWrite, "x400000,0": k.probe} {
				if got := c.ask(packet); !strings.HasPrefix(got, want) {
					t.Errorf("%s → %q, want %s…", packet, got, want)
				}
			}
			c.want("Z0,400020,1", "OK")
			// Without swbreak too, the PC is the breakpoint's address.
			if got := c.ask("vCont;c"); !strings.HasPrefix(got, k.step) || !strings.Contains(got, "10:2000400000000000;") {
				t.Errorf("breakpoint → %q", got)
			}
		})
	}
	t.Run("lldb with error strings", func(t *testing.T) {
		dial, _ := start(t, newFake())
		c := dial()
		c.ask("qSupported:" + oldLLDB)
		c.want("QEnableErrorStrings", "OK")
		c.want("p95", "E01;"+hex.EncodeToString([]byte("there is no register 149")))
	})
}

// TestMonitorCommands: output comes as O packets, then the result.
func TestMonitorCommands(t *testing.T) {
	c, done := connected(t, newFake())
	cmd := func(line string) (text, result string) {
		c.send("qRcmd," + hex.EncodeToString([]byte(line)))
		for {
			r := c.receive()
			if !strings.HasPrefix(r, "O") || r == "OK" {
				return text, r
			}
			p, err := hex.DecodeString(r[1:])
			if err != nil {
				t.Fatal(err)
			}
			text += string(p)
		}
	}
	if text, r := cmd("help"); r != "OK" || !strings.HasPrefix(text, "The following monitor commands") {
		t.Errorf("help: %q %s", text, r)
	}
	if text, r := cmd("maps"); r != "OK" || !strings.Contains(text, "00400000-00401000 r-xp") {
		t.Errorf("maps: %q %s", text, r)
	}
	if text, r := cmd("nonsense"); r != "E.unknown monitor command" || !strings.HasPrefix(text, "Unknown monitor command") {
		t.Errorf("nonsense: %q %s", text, r)
	}
	if _, r := cmd("exit"); r != "OK" {
		t.Errorf("exit: %s", r)
	}
	if err := <-done; err != nil {
		t.Errorf("after monitor exit, Serve says %v", err)
	}
}
