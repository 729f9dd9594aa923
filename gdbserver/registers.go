package gdbserver

import (
	"bytes"
	"sync"

	"kmdev/target"
)

var registerPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"g": {serve: readAll, data: true},
		"G": {serve: writeAll},
		"p": {serve: readOne, data: true},
		"P": {serve: writeOne},
	}
})

// file reads a thread's registers; the XSAVE area, which costs a round trip, only if it is needed.
func (s *session) file(tid int, extended bool) (f target.RegisterFile, err error) {
	if f.Regs, err = s.proc.Registers(tid); err != nil || !extended {
		return f, err
	}
	f.Xsave, err = s.proc.Extended(tid)
	return f, err
}

// readAll: g, every register in the order of the target description.
func readAll(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	tid, err := s.thread(s.general)
	if err != nil {
		return nil, err
	}
	f, err := s.file(tid, true)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i := range s.regs.Registers {
		out = appendHex(out, f.Read(&s.regs.Registers[i]))
	}
	return out, nil
}

// writeAll: G. Fewer bytes than there are registers leave the rest alone.
func writeAll(s *session, a *args) ([]byte, error) {
	values := a.hexBytes()
	if !a.done() {
		return nil, errSyntax
	}
	return ok(s.change(func(f *target.RegisterFile) error {
		for i := range s.regs.Registers {
			r := &s.regs.Registers[i]
			if len(values) < r.Size() {
				break
			}
			f.Write(r, values[:r.Size()])
			values = values[r.Size():]
		}
		return nil
	}, true))
}

// readOne: p NUMBER.
func readOne(s *session, a *args) ([]byte, error) {
	r, err := s.register(a)
	if err != nil || !a.done() {
		return nil, orSyntax(err)
	}
	tid, err := s.thread(s.general)
	if err != nil {
		return nil, err
	}
	f, err := s.file(tid, r.Extended())
	if err != nil {
		return nil, err
	}
	return appendHex(nil, f.Read(r)), nil
}

// writeOne: P NUMBER=VALUE.
func writeOne(s *session, a *args) ([]byte, error) {
	r, err := s.register(a)
	a.want("=")
	value := a.hexBytes()
	if err != nil || !a.done() || len(value) != r.Size() {
		return nil, orSyntax(err)
	}
	return ok(s.change(func(f *target.RegisterFile) error {
		f.Write(r, value)
		return nil
	}, r.Extended()))
}

func orSyntax(err error) error {
	if err != nil {
		return err
	}
	return errSyntax
}

// register takes a register's number.
func (s *session) register(a *args) (*target.Register, error) {
	n := a.length(1 << 16)
	if a.bad {
		return nil, errSyntax
	}
	if n >= len(s.regs.Registers) {
		return nil, errorf("there is no register %d", n)
	}
	return &s.regs.Registers[n], nil
}

// change edits the registers of the Hg thread and writes back the half that differs.
func (s *session) change(edit func(*target.RegisterFile) error, extended bool) error {
	tid, err := s.thread(s.general)
	if err != nil {
		return err
	}
	f, err := s.file(tid, extended)
	if err != nil {
		return err
	}
	before := f
	f.Xsave = bytes.Clone(f.Xsave)
	if err := edit(&f); err != nil {
		return err
	}
	if f.Regs != before.Regs {
		if err := s.proc.SetRegisters(tid, &f.Regs); err != nil {
			return err
		}
	}
	if !bytes.Equal(f.Xsave, before.Xsave) {
		return s.proc.SetExtended(tid, f.Xsave)
	}
	return nil
}
