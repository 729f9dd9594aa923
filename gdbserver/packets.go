package gdbserver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// packet is a row of the packet table.
type packetRow struct {
	// serve parses what is behind the name and gives the reply: escaped where it may be binary, nil with errNoReply,
	// errUnknown and other errors.
	serve func(s *session, a *args) ([]byte, error)
	// data: a good reply is hex data, in which a client would take E.text for digits.
	data bool
	// late: the process need not exist any more.
	late bool
	// resumes: the reply is the next stop, which may be that the process has ended.
	resumes bool
}

// packets is the packet table. Names of q, Q, v, j and _ packets are words, others one character. This and all tables here are
// made when the first client needs them: whoever links this package does not pay for them at its start.
var packets = sync.OnceValue(func() map[string]packetRow {
	all := map[string]packetRow{}
	for _, family := range []map[string]packetRow{
		queryPackets(), registerPackets(), memoryPackets(), breakPackets(), runPackets(), threadPackets(), filePackets(), lldbPackets(),
	} {
		maps.Copy(all, family)
	}
	return all
})

// okReply is the reply of a packet that has no other.
var okReply = []byte("OK")

func ok(err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return okReply, nil
}

// name splits a packet.
func splitName(p []byte) (name string, rest []byte) {
	if len(p) == 0 {
		return "", nil
	}
	n := 1
	switch p[0] {
	case 'q', 'Q', 'v', 'j', '_':
		for n < len(p) && isWord(p[n]) {
			n++
		}
	}
	return string(p[:n]), p[n:]
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// packet serves one packet.
func (s *session) packet(p []byte) {
	if s.conn.log != nil {
		s.conn.log("<-", p)
	}
	if s.ended {
		defer s.linger()
	}
	name, rest := splitName(p)
	row, known := packets()[name]
	if !known {
		s.send(nil)
		return
	}
	if s.ended && row.resumes && !s.told {
		s.send(s.exitReply(s.status))
		return
	}
	if s.ended && !row.late {
		s.reply(nil, errorf("the process has ended"), row.data)
		return
	}
	body, err := row.serve(s, &args{b: rest})
	s.reply(body, err, row.data)
	if s.noAckNow {
		s.conn.noAck.Store(true)
	}
}

func (s *session) reply(body []byte, err error, data bool) {
	switch {
	case err == nil:
		s.send(body)
	case errors.Is(err, errNoReply):
	case isUnknown(err):
		s.send(nil)
	default:
		s.send(asReply(err).format(s.client.errors, data))
	}
}

// trace writes a packet in a form that people can read.
func (s *session) trace(direction string, p []byte) {
	const most = 512
	more := ""
	if len(p) > most {
		more = fmt.Sprintf(" … %d bytes", len(p))
		p = p[:most]
	}
	io.WriteString(s.opts.Trace, fmt.Sprintf("%s %q%s\n", direction, p, more))
}
