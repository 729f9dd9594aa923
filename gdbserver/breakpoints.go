package gdbserver

import (
	"kmdev/target"
	"sync"
)

var breakPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"Z": {serve: insert},
		"z": {serve: remove},
	}
})

// insert: Z TYPE,ADDR,KIND.
func insert(s *session, a *args) ([]byte, error) {
	b, err := a.breakpoint()
	if err != nil {
		return nil, err
	}
	return ok(s.proc.InsertBreakpoint(b))
}

// remove: z TYPE,ADDR,KIND.
func remove(s *session, a *args) ([]byte, error) {
	b, err := a.breakpoint()
	if err != nil {
		return nil, err
	}
	return ok(s.proc.RemoveBreakpoint(b))
}

func (a *args) breakpoint() (b target.Breakpoint, err error) {
	kind := a.length(0xff)
	a.want(",")
	b.Addr = a.hex()
	a.want(",")
	b.Size = a.hex()
	b.Kind = target.BreakpointKind(kind)
	switch {
	case !a.done():
		return b, errSyntax
	case b.Kind > target.WatchAccess:
		return b, errUnknown
	}
	return b, nil
}
