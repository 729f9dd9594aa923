package live

import (
	"kmdev/monitor/debug"
	"kmdev/target"
)

// The channel's numbers and the target API's are told apart on purpose: neither package knows the other.

var eventKinds = map[debug.EventKind]target.EventKind{
	debug.EventStopped:      target.EventStopped,
	debug.EventThreadExited: target.EventThreadExited,
	debug.EventNoResumed:    target.EventNoResumed,
}

var stopReasons = map[debug.StopReason]target.StopReason{
	debug.StopInterrupt:     target.StopInterrupt,
	debug.StopCreated:       target.StopCreated,
	debug.StopStart:         target.StopStart,
	debug.StopSignal:        target.StopSignal,
	debug.StopBreakpoint:    target.StopBreakpoint,
	debug.StopStep:          target.StopStep,
	debug.StopWatch:         target.StopWatch,
	debug.StopSyscallEntry:  target.StopSyscallEntry,
	debug.StopSyscallReturn: target.StopSyscallReturn,
}

var actionKinds = map[target.ActionKind]debug.ActionKind{
	target.Continue: debug.Continue,
	target.Step:     debug.Step,
	target.Stay:     debug.Stay,
}

func eventOf(r *debug.Report) target.Event {
	return target.Event{
		Kind:   eventKinds[r.Kind],
		Tid:    r.Tid,
		Status: target.WaitStatus(r.Status),
		Stop: target.Stop{
			Tid:     r.Tid,
			Reason:  stopReasons[r.Stop.Reason],
			Siginfo: target.Siginfo(r.Stop.Siginfo),
			Addr:    r.Stop.Addr,
			Watch:   target.BreakpointKind(r.Stop.Watch),
			Syscall: r.Stop.Syscall,
			Regs:    target.Regs(r.Regs),
		},
	}
}

func actionsOf(actions []target.Action) []debug.Action {
	out := make([]debug.Action, len(actions))
	for i, a := range actions {
		out[i] = debug.Action{Tid: a.Tid, Kind: actionKinds[a.Kind], Signal: a.Signal, Start: a.Start, End: a.End}
	}
	return out
}

func mappingsOf(vmas []debug.VMA) []target.Mapping {
	out := make([]target.Mapping, len(vmas))
	for i, v := range vmas {
		out[i] = target.Mapping{
			Start: v.Start, End: v.End, Prot: target.Prot(v.Prot), Shared: v.Shared, Offset: v.Offset,
			Major: v.Major, Minor: v.Minor, Inode: v.Inode, Name: v.Name,
		}
	}
	return out
}

func breakpointOf(b target.Breakpoint) debug.Breakpoint {
	return debug.Breakpoint{Kind: debug.BreakpointKind(b.Kind), Addr: b.Addr, Size: b.Size}
}
