package gdbserver

import (
	"strconv"
	"strings"
	"sync"

	"kmdev/target"
)

// xferObject is an object of qXfer. read gives all of it, for the annex; the client takes pieces.
type xferObject struct {
	read  func(s *session, annex string) ([]byte, error)
	write func(s *session, offset uint64, data []byte) error
}

var xferObjects = sync.OnceValue(func() map[string]xferObject {
	return map[string]xferObject{
		"features":       {read: (*session).targetXML},
		"threads":        {read: (*session).threadsXML},
		"auxv":           {read: func(s *session, _ string) ([]byte, error) { return s.proc.Auxv() }},
		"exec-file":      {read: (*session).execFile},
		"libraries-svr4": {read: (*session).librariesXML},
		"siginfo":        {read: (*session).readSiginfo, write: (*session).writeSiginfo},
	}
})

// xferCache holds the object that a client is reading piece by piece, so that it is one whole.
type xferCache struct {
	object, annex string
	content       []byte
}

// xfer: qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH and qXfer:OBJECT:write:ANNEX:OFFSET:DATA.
func xfer(s *session, a *args) ([]byte, error) {
	a.want(":")
	name := string(a.until(':'))
	object, known := xferObjects()[name]
	operation := string(a.until(':'))
	annex := string(a.until(':'))
	offset := a.hex()
	switch {
	case !known && !a.bad:
		return nil, errUnknown
	case operation == "read":
		a.want(",")
		n := min(a.hex(), maxRead)
		if !a.done() {
			return nil, errSyntax
		}
		return s.xferRead(name, object, annex, offset, n)
	case operation == "write" && object.write != nil:
		a.want(":")
		data := a.binary()
		if !a.done() {
			return nil, errSyntax
		}
		if err := object.write(s, offset, data); err != nil {
			return nil, err
		}
		return strconv.AppendInt(nil, int64(len(data)), 16), nil
	case !a.bad:
		return nil, errUnknown
	}
	return nil, errSyntax
}

func (s *session) xferRead(name string, object xferObject, annex string, offset, n uint64) ([]byte, error) {
	c := &s.xfers
	if offset == 0 || c.object != name || c.annex != annex {
		content, err := object.read(s, annex)
		if err != nil {
			return nil, err
		}
		*c = xferCache{name, annex, content}
	}
	total := uint64(len(c.content))
	if offset > total {
		return nil, errSyntax
	}
	piece := c.content[offset:min(offset+n, total)]
	if offset+n >= total {
		*c = xferCache{}
		return appendEscaped([]byte("l"), piece), nil
	}
	return appendEscaped([]byte("m"), piece), nil
}

// execFile: the annex is a pid, or nothing.
func (s *session) execFile(annex string) ([]byte, error) {
	if annex != "" {
		pid, err := strconv.ParseInt(annex, 16, 32)
		if err != nil {
			return nil, errSyntax
		}
		if !s.isOurs(int(pid)) {
			return nil, errorf("no process %d here", pid)
		}
	}
	return []byte(s.proc.Info().Exe), nil
}

func (s *session) readSiginfo(string) ([]byte, error) {
	tid, err := s.thread(s.general)
	if err != nil {
		return nil, err
	}
	info, err := s.proc.Siginfo(tid)
	return info[:], err
}

func (s *session) writeSiginfo(offset uint64, data []byte) error {
	tid, err := s.thread(s.general)
	if err != nil {
		return err
	}
	info, err := s.proc.Siginfo(tid)
	if err != nil {
		return err
	}
	if offset+uint64(len(data)) > uint64(len(target.Siginfo{})) || offset > uint64(len(info)) {
		return errorf("a siginfo has %d bytes", len(info))
	}
	copy(info[offset:], data)
	return s.proc.SetSiginfo(tid, &info)
}

// xmlText escapes text for XML attributes; what XML can't hold at all becomes '?'.
func xmlText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, text)
	return xmlEscapes.Replace(text)
}

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")
