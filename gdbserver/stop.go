package gdbserver

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// stopReply is the answer to a resumption ("Stop Reply Packets").
func (s *session) stopReply(e target.Event) []byte {
	switch e.Kind {
	case target.EventExited:
		return s.exitReply(e.Status)
	case target.EventThreadExited:
		code, _ := e.Status.Exited()
		return fmt.Appendf(nil, "w%x;%s", code, s.idText(e.Tid))
	case target.EventNoResumed:
		if s.client.noResumed {
			return []byte("N")
		}
	}
	return s.stopped(&e.Stop)
}

func (s *session) exitReply(status target.WaitStatus) []byte {
	s.told = true
	var out []byte
	if sig, ok := status.Signaled(); ok {
		out = fmt.Appendf(out, "X%02x", toGDB(sig))
	} else {
		code, _ := status.Exited()
		out = fmt.Appendf(out, "W%02x", code)
	}
	if s.client.multiprocess {
		out = fmt.Appendf(out, ";process:%x", s.pid)
	}
	return out
}

// expedited are the registers that clients want at every stop.
var expedited = []string{"rbp", "rsp", "rip"}

// stopped is a T packet.
func (s *session) stopped(stop *target.Stop) []byte {
	tid := stop.Tid
	if tid == 0 {
		tid = s.current()
	}
	out := fmt.Appendf(nil, "T%02x", s.stopSignal(stop))
	out = s.appendReason(out, stop)
	out = s.appendLLDBReason(out, stop)
	if regs, err := s.proc.Registers(tid); err == nil {
		f := target.RegisterFile{Regs: regs}
		for _, name := range expedited {
			n := s.regs.Lookup(name)
			out = fmt.Appendf(out, "%02x:", n)
			out = append(appendHex(out, f.Read(&s.regs.Registers[n])), ';')
		}
	}
	out = fmt.Appendf(out, "thread:%s;", s.idText(tid))
	if t, err := s.proc.Thread(tid); err == nil && t.Core >= 0 {
		out = fmt.Appendf(out, "core:%x;", t.Core)
	}
	return out
}

// stopSignal is gdb's number of the signal that a stop is shown as.
func (s *session) stopSignal(stop *target.Stop) int {
	switch stop.Reason {
	case target.StopSignal:
		return toGDB(stop.Siginfo.Signal())
	case target.StopInterrupt:
		if s.asked { // else the server stopped it for a client that has just connected
			return toGDB(int(unix.SIGINT))
		}
	case target.StopCreated:
		return 0
	}
	return toGDB(int(s.plainStop(stop.Reason)))
}

// watchReasons are the names of watchpoint stops.
var watchReasons = sync.OnceValue(func() map[target.BreakpointKind]string {
	return map[target.BreakpointKind]string{
		target.WatchWrite: "watch", target.WatchRead: "rwatch", target.WatchAccess: "awatch",
	}
})

func (s *session) appendReason(out []byte, stop *target.Stop) []byte {
	switch stop.Reason {
	case target.StopBreakpoint:
		// The PC is the breakpoint's address whether or not the client can be told why.
		if stop.Watch == target.Hardware && s.client.hwbreak {
			return append(out, "hwbreak:;"...)
		}
		if s.client.swbreak {
			return append(out, "swbreak:;"...)
		}
	case target.StopWatch:
		return fmt.Appendf(out, "%s:%x;", watchReasons()[stop.Watch], stop.Addr)
	case target.StopSyscallEntry:
		return fmt.Appendf(out, "syscall_entry:%x;", stop.Syscall)
	case target.StopSyscallReturn:
		return fmt.Appendf(out, "syscall_return:%x;", stop.Syscall)
	case target.StopCreated:
		return append(out, "create:;"...)
	}
	return out
}
