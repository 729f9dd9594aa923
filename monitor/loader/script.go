package loader

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Limits of #! scripts: BINPRM_BUF_SIZE, and the interpreters in a row that exec_binprm follows (fs/exec.c).
const (
	scriptHead = 256
	maxScripts = 5
)

// shebang is a parsed #! line.
type shebang struct {
	interp string
	arg    string // the rest of the line, one argument however many words it has
	hasArg bool
}

func isScript(head []byte) bool { return len(head) >= 2 && head[0] == '#' && head[1] == '!' }

// parseShebang reads the #! line out of a file's first bytes by the rules of binfmt_script: only the first 256 bytes
// count; a line that does not end in them is good if at least the interpreter's name ends in them, and its argument is
// then cut. Blanks are space and tab; a NUL ends a name.
func parseShebang(head []byte) (shebang, *fault) {
	var buf [scriptHead]byte // zero-padded, as the kernel has it
	copy(buf[:], head)
	last := scriptHead - 1

	end := lineEnd(buf[:])
	if end < 0 {
		name := skipBlanks(buf[:], 2, last)
		if name < 0 {
			return shebang{}, faultf(unix.ENOEXEC, "has a #! line without an interpreter: name one, like #!/bin/sh")
		}
		if nameEnd(buf[:], name, last) < 0 {
			return shebang{}, faultf(unix.ENOEXEC, "has a #! line whose interpreter does not end within %d bytes: shorten its path", scriptHead)
		}
		end = last
	}
	for blank(buf[end-1]) {
		end--
	}
	name := skipBlanks(buf[:], 2, end)
	if name < 0 || name == end {
		return shebang{}, faultf(unix.ENOEXEC, "has a #! line without an interpreter: name one, like #!/bin/sh")
	}
	return splitShebang(buf[:], name, end), nil
}

// splitShebang divides buf[name:end] into the interpreter and its argument.
func splitShebang(buf []byte, name, end int) shebang {
	var s shebang
	sep := nameEnd(buf, name, end)
	if sep >= 0 && buf[sep] != 0 {
		if arg := skipBlanks(buf, sep, end); arg >= 0 {
			s.hasArg = true
			s.arg = cString(buf[arg:end])
		}
		s.interp = cString(buf[name:sep])
		return s
	}
	s.interp = cString(buf[name:end])
	return s
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// lineEnd is the index of the newline, or -1 if a NUL or the end of buf comes first.
func lineEnd(buf []byte) int {
	i := bytes.IndexAny(buf, "\n\x00")
	if i < 0 || buf[i] == 0 {
		return -1
	}
	return i
}

// skipBlanks is the index of the first byte in buf[from:last+1] that is no blank, or -1.
func skipBlanks(buf []byte, from, last int) int {
	for i := from; i <= last; i++ {
		if !blank(buf[i]) {
			return i
		}
	}
	return -1
}

// nameEnd is the index of the first blank or NUL in buf[from:last+1], or -1.
func nameEnd(buf []byte, from, last int) int {
	for i := from; i <= last; i++ {
		if blank(buf[i]) || buf[i] == 0 {
			return i
		}
	}
	return -1
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
