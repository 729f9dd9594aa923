package gdbserver

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"

	"kmdev/target"
)

// recorder is a connection that keeps what the server writes.
type recorder struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error)  { return r.in.Read(p) }
func (r *recorder) Write(p []byte) (int, error) { return r.out.Write(p) }
func (r *recorder) Close() error                { return nil }

// replies takes apart what was written; everything must be well formed.
func (r *recorder) replies(t *testing.T) (n int) {
	br := bufio.NewReader(&r.out)
	for {
		_, err := readReply(br)
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatalf("reply %d: %v", n, err)
		}
		n++
	}
}

var seeds = []string{
	"qSupported:multiprocess+;swbreak+", "?", "g", "G00", "p0", "P10=0000000000000000", "m400000,10", "M600000,1:00", "X600000,1:}]", "x400000,10",
	"Z0,400010,1", "z0,400010,1", "Z2,600000,4", "vCont?", "vCont;c:p64.-1", "vCont;r400000,400010:p64.64;c", "c", "s400000", "C05", "S05;400000",
	"Hgp64.65", "Hc-1", "Tp64.65", "qC", "qfThreadInfo", "qsThreadInfo", "qThreadExtraInfo,p64.64", "qGetTLSAddr:p64.64,0,0", "D", "D;64", "k", "vKill;64",
	"QPassSignals:e;10", "QProgramSignals:b", "QCatchSyscalls:1;6e", "QThreadEvents:1", "QNonStop:0", "QStartNoAckMode", "qAttached:64", "qSymbol::", "qRcmd,6d617073",
	"qXfer:features:read:target.xml:0,1000", "qXfer:threads:read::0,1000", "qXfer:auxv:read::0,1000", "qXfer:libraries-svr4:read::0,1000",
	"qXfer:libraries-svr4:read:start=1;prev=2;lmid=3:0,1000", "qXfer:siginfo:read::0,80", "qXfer:siginfo:write::0:a", "qXfer:exec-file:read:64:0,10",
	"qSearch:memory:400000;1000;ab", "qCRC:400000,10", "vFile:open:2f70726f632f3130302f6d617073,0,0", "vFile:pread:1,100,0", "vFile:close:1", "vFile:fstat:1",
	"vFile:readlink:2f70726f632f3130302f657865", "vFile:setfs:0", "vFile:stat:2f", "vFile:pwrite:1,0,ab", "!", "vCtrlC", "QEnableErrorStrings",
}

// FuzzPacket: no packet's text harms the server; each has at most one reply (O packets of monitor commands aside), well formed.
func FuzzPacket(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if writesFiles(packet) {
			return
		}
		rec := &recorder{in: bytes.NewReader(nil)}
		srv := New(newFake(), Options{})
		s := newSession(srv, rec)
		s.input(input{packet: []byte("qSupported:multiprocess+;swbreak+")})
		rec.replies(t)
		s.input(input{packet: packet})
		for len(s.proc.Events()) > 0 {
			e, ok := <-s.proc.Events()
			if ok && e.Kind != target.EventExited {
				s.event(e)
			}
		}
		if n := rec.replies(t); n > 1 && !bytes.HasPrefix(packet, []byte("qRcmd")) {
			t.Errorf("%d replies", n)
		}
		s.input(input{packet: []byte("qC")})
		if rec.replies(t) != 1 {
			t.Error("the next packet has no reply")
		}
		s.leave()
	})
}

// writesFiles tells packets that would change the host's files.
func writesFiles(packet []byte) bool {
	for _, p := range []string{"vFile:open", "vFile:unlink", "vFile:pwrite"} {
		if bytes.HasPrefix(packet, []byte(p)) && !bytes.HasSuffix(packet, []byte(",0,0")) {
			return true
		}
	}
	return false
}

// FuzzStream: nor does any stream of bytes harm the reader: it ends with the stream, and whatever it made of it is
// acknowledged by single characters.
func FuzzStream(f *testing.F) {
	f.Add([]byte("+$qC#b4-\x03$g#67$"), false)
	f.Add([]byte("$}#$#00$m400000,10#00"), true)
	f.Fuzz(func(t *testing.T, stream []byte, noAck bool) {
		rec := &recorder{in: bytes.NewReader(stream)}
		c := &conn{rw: rec}
		c.noAck.Store(noAck)
		in := make(chan input)
		quit := make(chan struct{})
		go c.read(in, quit)
		for i := range in {
			if i.err != nil {
				break
			}
			if len(i.packet) > len(stream) {
				t.Errorf("a packet of %d bytes out of %d", len(i.packet), len(stream))
			}
		}
		if out := bytes.Trim(rec.out.Bytes(), "+-"); len(out) > 0 {
			t.Errorf("the reader wrote %q", out)
		}
	})
}

// FuzzLibrariesAnnex parses what clients put there.
func FuzzLibrariesAnnex(f *testing.F) {
	f.Add("start=1;prev=2;lmid=3")
	f.Fuzz(func(t *testing.T, annex string) { parseLibrariesAnnex(annex) })
}
