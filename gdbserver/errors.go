package gdbserver

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// rspError is an error reply: a number for clients that read only that, and a text for people.
type rspError struct {
	code byte
	text string
}

func (e *rspError) Error() string { return e.text }

func errorf(format string, a ...any) error { return &rspError{1, fmt.Sprintf(format, a...)} }

var (
	// errSyntax is a packet that is not as the manual says.
	errSyntax = &rspError{0x16, "malformed packet"}
	// errUnknown is a packet (or a variant) that this server has not got: the empty reply.
	errUnknown = errors.New("unknown packet")
	// errNoReply: the packet's reply comes later or never.
	errNoReply = errors.New("no reply")
)

// asReply gives any error its number and text.
func asReply(err error) *rspError {
	var r *rspError
	var m *target.MemoryError
	var errno unix.Errno
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &m):
		return &rspError{byte(unix.EFAULT), m.Error()}
	case errors.Is(err, target.ErrNoThread), errors.Is(err, target.ErrGone):
		return &rspError{byte(unix.ESRCH), err.Error()}
	case errors.As(err, &errno):
		return &rspError{byte(errno), errno.Error()}
	}
	return &rspError{1, err.Error()}
}

// errorStyle is the form of error replies that a client understands.
type errorStyle int

const (
	styleNumber errorStyle = iota // Enn everywhere
	styleGDB                      // E.text, except where replies are hex data and 'E' would be taken for a digit
	styleFull                     // E.text everywhere (gdb's error-message+)
	styleLLDB                     // Enn;hex (QEnableErrorStrings)
)

// format gives the error's reply. data tells that a good reply to the packet would be hex data.
func (e *rspError) format(style errorStyle, data bool) []byte {
	switch {
	case style == styleFull, style == styleGDB && !data:
		return []byte("E." + printable(e.text))
	case style == styleLLDB:
		return appendHex(fmt.Appendf(nil, "E%02x;", e.code), []byte(e.text))
	}
	return fmt.Appendf(nil, "E%02x", e.code)
}

// printable keeps text out of the frame's way: unescaped replies must not hold its characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune("$#*}", r) {
			return '?'
		}
		return r
	}, text)
}

// isUnknown: what the target can't do, this server has not got.
func isUnknown(err error) bool {
	return errors.Is(err, errUnknown) || errors.Is(err, target.ErrUnsupported)
}
