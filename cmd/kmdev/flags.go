package main

import (
	"fmt"
	"io"
	"strings"
)

// option is a command-line flag. Flags may be written --name VALUE or --name=VALUE; a short flag's optional value is
// attached (-g2159), as in KM.
type option struct {
	names string // "--log-level" or "-g,--gdb"
	arg   string // what the value is called; empty: none. In brackets: optional, and attached only
	help  string
	set   func(value string) error
}

func (o *option) has(name string) bool {
	for n := range strings.SplitSeq(o.names, ",") {
		if n == name {
			return true
		}
	}
	return false
}

func (o *option) optional() bool { return strings.HasPrefix(o.arg, "[") }

// parse takes the options at the front of args and returns the rest: from the first word that is no option, or behind "--".
func parse(args []string, options []option) ([]string, error) {
	for len(args) > 0 {
		word := args[0]
		if word == "--" {
			return args[1:], nil
		}
		if len(word) < 2 || word[0] != '-' {
			return args, nil
		}
		args = args[1:]
		o, value, attached := find(word, options)
		switch {
		case o == nil:
			return nil, fmt.Errorf("unknown option %s (a payload's own options go behind its name)", word)
		case o.arg == "" && attached:
			return nil, fmt.Errorf("%s takes no value", word)
		case o.arg != "" && !o.optional() && !attached:
			if len(args) == 0 {
				return nil, fmt.Errorf("%s needs %s", word, o.arg)
			}
			value, args = args[0], args[1:]
		}
		if err := o.set(value); err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil, nil
}

// find looks an option word up, and splits off the value that is attached to it.
func find(word string, options []option) (o *option, value string, attached bool) {
	name := word
	if strings.HasPrefix(word, "--") {
		name, value, attached = strings.Cut(word, "=")
	} else if len(word) > 2 {
		name, value, attached = word[:2], word[2:], true
	}
	for i := range options {
		if options[i].has(name) {
			return &options[i], value, attached
		}
	}
	return nil, "", false
}

// printOptions prints the options as a help text's table.
func printOptions(w io.Writer, options []option) {
	for _, o := range options {
		if o.help == "" {
			continue // internal
		}
		head := strings.ReplaceAll(o.names, ",", ", ")
		switch {
		case o.optional():
			head += o.arg
		case o.arg != "":
			head += " " + o.arg
		}
		if len(head) > 24 {
			fmt.Fprintf(w, "  %s\n%28s", head, "")
		} else {
			fmt.Fprintf(w, "  %-26s", head)
		}
		fmt.Fprintln(w, strings.ReplaceAll(o.help, "\n", "\n"+strings.Repeat(" ", 28)))
	}
}
