package gdbserver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// monitorCommands are gdb's "monitor …" commands, looked up by their first word. They return what they print.
var monitorCommands func() map[string]monitorRow

type monitorRow struct {
	help string
	run  func(s *session, words []string) (string, error)
}

func init() { // monitorHelp refers to the table
	monitorCommands = sync.OnceValue(func() map[string]monitorRow {
		return map[string]monitorRow{
			"help": {"list these commands", monitorHelp},
			"exit": {"kill the program and end the server", monitorExit},
			"maps": {"show the program's memory map, as in /proc/PID/maps", monitorMaps},
		}
	})
}

// monitorCommand: qRcmd,HEX → the text printed, as O packets, then OK.
func monitorCommand(s *session, a *args) ([]byte, error) {
	a.want(",")
	line := a.hexBytes()
	if !a.done() {
		return nil, errSyntax
	}
	words := strings.Fields(string(line))
	if len(words) == 0 {
		words = []string{"help"}
	}
	row, known := monitorCommands()[words[0]]
	if !known {
		help, _ := monitorHelp(s, nil)
		s.print("Unknown monitor command.\n\n" + help)
		return nil, &rspError{1, "unknown monitor command"}
	}
	text, err := row.run(s, words[1:])
	if err != nil {
		return nil, err
	}
	s.print(text)
	return okReply, nil
}

// print shows text in the client's console.
func (s *session) print(text string) {
	const piece = packetSize / 4
	for len(text) > 0 {
		n := min(len(text), piece)
		s.send(appendHex([]byte("O"), []byte(text[:n])))
		text = text[n:]
	}
}

func monitorHelp(*session, []string) (string, error) {
	names := make([]string, 0, len(monitorCommands()))
	for name := range monitorCommands() {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("The following monitor commands are supported:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s\n    %s\n", name, monitorCommands()[name].help)
	}
	return b.String(), nil
}

func monitorExit(s *session, _ []string) (string, error) {
	s.over = true
	return "", s.proc.Kill()
}

func monitorMaps(s *session, _ []string) (string, error) {
	maps, err := s.proc.Maps()
	var b strings.Builder
	for i := range maps {
		b.WriteString(maps[i].String() + "\n")
	}
	return b.String(), err
}
