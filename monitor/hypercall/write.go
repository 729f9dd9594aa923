package hypercall

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// Format is how WriteTable prints.
type Format int

// Formats.
const (
	Text     Format = iota // aligned columns for a terminal
	Markdown               // docs/syscalls.md
)

// WriteTable prints every row: number, name, group, what serves it, and the
// reason or difference.
func WriteTable(w io.Writer, f Format) error {
	b := bufio.NewWriter(w)
	if f == Markdown {
		writeMarkdown(b)
	} else {
		writeText(b)
	}
	return b.Flush()
}

func writeText(b *bufio.Writer) {
	fmt.Fprintf(b, "%4s  %-24s %-9s %-20s %s\n", "NR", "NAME", "GROUP", "SERVED", "NOTE")
	for r := range Rows {
		line := fmt.Sprintf("%4d  %-24s %-9s %-20s %s", r.Nr, r.Name, r.Group, r.How().describe(r), r.Note)
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
}

// describe says what serves a row, with the errno of a refused one.
func (s Serve) describe(r *Row) string {
	if s == Refuse {
		return "refused: " + errnoName(r)
	}
	return s.String()
}

const markdownHead = `# System calls

Made by ` + "`go generate ./monitor/hypercall`" + ` from the table there; do not edit.

*passed*: pointers and descriptors are checked and translated, then the host's kernel does the work. *served*: a function
of the monitor's does it, most often by calling the host too. *refused*: the errno given, for the reason given; the first
time there is a line in the log, and ` + "`kmdev run --unimplemented=abort`" + ` ends the payload instead.

`

func writeMarkdown(b *bufio.Writer) {
	b.WriteString(markdownHead)
	count := map[Serve]int{}
	for r := range Rows {
		count[r.How()]++
	}
	fmt.Fprintf(b, "%d passed, %d served, %d refused.\n\n", count[Pass], count[Handle], count[Refuse])
	b.WriteString("| nr | call | group | served | note |\n|---:|---|---|---|---|\n")
	for r := range Rows {
		fmt.Fprintf(b, "| %d | `%s` | %s | %s | %s |\n", r.Nr, r.signature(), r.Group, r.How().describe(r), markdownText(r.Note))
	}
}

// signature is the call as C programmers write it, without types.
func (r *Row) signature() string {
	names := make([]string, len(r.Args))
	for i, a := range r.Args {
		names[i] = a.Name
	}
	return r.Name + "(" + strings.Join(names, ", ") + ")"
}

func markdownText(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}

// errnoName is the name of a refused row's errno.
func errnoName(r *Row) string { return unix.ErrnoName(r.Errno()) }
