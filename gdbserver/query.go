package gdbserver

import (
	"fmt"
	"strings"
	"sync"
)

var queryPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"qSupported":        {serve: supported, late: true},
		"QStartNoAckMode":   {serve: startNoAck, late: true},
		"QNonStop":          {serve: nonStop, late: true},
		"!":                 {serve: extended, late: true},
		"qAttached":         {serve: attached},
		"qSymbol":           {serve: symbol},
		"qGDBServerVersion": {serve: version, late: true},
		"qRcmd":             {serve: monitorCommand},
		"qXfer":             {serve: xfer},
	}
})

// abilities are what qSupported says of this server.
var abilities = strings.Join([]string{
	fmt.Sprintf("PacketSize=%x", packetSize),
	"QStartNoAckMode+", "QPassSignals+", "QProgramSignals+", "QThreadEvents+", "vContSupported+", "multiprocess+", "no-resumed+",
	"qXfer:features:read+", "qXfer:auxv:read+", "qXfer:exec-file:read+", "qXfer:threads:read+",
	"qXfer:libraries-svr4:read+", "augmented-libraries-svr4-read+", "qXfer:siginfo:read+", "qXfer:siginfo:write+",
}, ";")

// oldLLDB is what an lldb says that reads raw x replies and native error numbers.
const oldLLDB = "xmlRegisters=i386,arm,mips,arc"

// supported: qSupported:FEATURE;… tells each side of the other's features.
func supported(s *session, a *args) ([]byte, error) {
	c := clientFeatures{extended: s.client.extended, errors: s.client.errors}
	if !a.is(":") && len(a.b) > 0 {
		return nil, errSyntax
	}
	for f := range strings.SplitSeq(string(a.rest()), ";") {
		switch f {
		case "multiprocess+":
			c.multiprocess = true
		case "swbreak+":
			c.swbreak = true
		case "hwbreak+":
			c.hwbreak = true
		case "no-resumed+":
			c.noResumed = true
		case "error-message+":
			c.errors = styleFull
		case oldLLDB:
			c.lldb = true
		}
	}
	c.lldb = c.lldb && !c.swbreak
	c.binaryUpload = !c.lldb
	if c.lldb && c.errors == styleGDB {
		c.errors = styleNumber
	}
	s.client = c
	return s.answer(), nil
}

// answer says what this server can do for this client and this process.
func (s *session) answer() []byte {
	out := abilities
	for _, f := range []struct {
		name string
		when bool
	}{
		{"swbreak+", s.client.swbreak},
		{"hwbreak+", s.client.hwbreak},
		{"error-message+", s.client.errors == styleFull},
		{"binary-upload+", s.client.binaryUpload},
		{"QCatchSyscalls+", !s.ended && s.proc.CatchSyscalls(false, nil) == nil},
	} {
		if f.when {
			out += ";" + f.name
		}
	}
	return []byte(out)
}

func startNoAck(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	s.noAckNow = true
	return okReply, nil
}

// nonStop: QNonStop:0 is the mode there is.
func nonStop(_ *session, a *args) ([]byte, error) {
	on := a.is(":1")
	if !on {
		a.want(":0")
	}
	switch {
	case !a.done():
		return nil, errSyntax
	case on:
		return nil, errUnknown
	}
	return okReply, nil
}

// extended: !, the client wants to stay after the process.
func extended(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	s.client.extended = true
	return okReply, nil
}

// attached: qAttached[:PID], 0 makes gdb kill the process when it quits, 1 detach from it.
func attached(s *session, a *args) ([]byte, error) {
	if a.is(":") {
		if pid := a.id(); !s.isOurs(pid) {
			return nil, errorf("no process %d here", pid)
		}
	}
	if !a.done() {
		return nil, errSyntax
	}
	if s.opts.Attached {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// symbol: qSymbol offers to look symbols up; none is needed.
func symbol(_ *session, a *args) ([]byte, error) {
	a.want(":")
	a.until(':')
	a.rest()
	if !a.done() {
		return nil, errSyntax
	}
	return okReply, nil
}

func version(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	name, v := s.opts.Name, s.opts.Version
	if name == "" {
		name = "kmdev"
	}
	if v == "" {
		v = "0"
	}
	return []byte(printable("name:" + name + ";version:" + v + ";")), nil
}
