package gdbserver

import (
	"errors"
	"sync"

	"kmdev/target"
)

var runPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"?":               {serve: status, late: true},
		"c":               {serve: oldContinue, resumes: true},
		"C":               {serve: oldContinueSignal, resumes: true},
		"s":               {serve: oldStep, resumes: true},
		"S":               {serve: oldStepSignal, resumes: true},
		"vCont":           {serve: vCont, resumes: true},
		"vCtrlC":          {serve: vCtrlC},
		"k":               {serve: kill},
		"vKill":           {serve: vKill},
		"D":               {serve: detach},
		"QPassSignals":    {serve: passSignals},
		"QCatchSyscalls":  {serve: catchSyscalls},
		"QThreadEvents":   {serve: threadEvents},
		"QProgramSignals": {serve: programSignals},
	}
})

// status: ?, why the process is stopped.
func status(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	if s.ended {
		return s.exitReply(s.status), nil
	}
	if s.detached {
		return []byte("W00"), nil
	}
	stop, stopped := s.proc.Stopped()
	if !stopped { // a client that asks while it waits for a stop reply gets that
		s.waiting = true
		return nil, errNoReply
	}
	return s.stopReply(target.Event{Kind: target.EventStopped, Tid: stop.Tid, Stop: stop}), nil
}

// resume lets the process run; its next stop is the reply. That it has ended meanwhile is such a stop, which is still to
// come then.
func (s *session) resume(actions []target.Action) ([]byte, error) {
	if err := s.proc.Resume(actions); err != nil && !errors.Is(err, target.ErrGone) {
		return nil, err
	}
	s.waiting = true
	return nil, errNoReply
}

// signal takes one of gdb's signal numbers. What Linux has not got is not delivered.
func (a *args) signal() int {
	sig, _ := fromGDB(a.length(0xff))
	return sig
}

// vCont: vCont? or vCont;ACTION[:THREAD]…
func vCont(s *session, a *args) ([]byte, error) {
	if a.is("?") {
		if !a.done() {
			return nil, errSyntax
		}
		return []byte("vCont;c;C;s;S;t;r"), nil
	}
	var actions []target.Action
	for a.is(";") {
		act, mine := s.action(a)
		if a.bad {
			return nil, errSyntax
		}
		if mine {
			actions = append(actions, act)
		}
	}
	if !a.done() || len(actions) == 0 {
		return nil, errSyntax
	}
	return s.resume(actions)
}

// action takes one action of vCont. mine tells if it can concern our process.
func (s *session) action(a *args) (act target.Action, mine bool) {
	switch {
	case a.is("c"):
	case a.is("C"):
		act.Signal = a.signal()
	case a.is("s"):
		act.Kind = target.Step
	case a.is("S"):
		act.Kind = target.Step
		act.Signal = a.signal()
	case a.is("t"):
		act.Kind = target.Stay
	case a.is("r"):
		act.Kind = target.Step
		act.Start = a.hex()
		a.want(",")
		act.End = a.hex()
	default:
		a.fail()
	}
	if !a.is(":") {
		return act, true
	}
	id := a.threadID()
	if id.tid > 0 {
		act.Tid = id.tid
	}
	return act, s.isOurs(id.pid)
}

// old makes an action of a c, C, s or S packet: for the Hc thread alone, or for the current one with the others
// continuing. An address to continue at may follow.
func (s *session) old(a *args, act target.Action) ([]byte, error) {
	tid, err := s.thread(s.cont)
	if err != nil {
		return nil, err
	}
	if len(a.b) > 0 {
		addr := a.hex()
		if !a.done() {
			return nil, errSyntax
		}
		if err := s.jump(tid, addr); err != nil {
			return nil, err
		}
	}
	if a.bad {
		return nil, errSyntax
	}
	act.Tid = tid
	actions := []target.Action{act}
	if s.cont.tid == anyID || s.cont.tid == allID {
		actions = append(actions, target.Action{})
	}
	return s.resume(actions)
}

func (s *session) jump(tid int, addr uint64) error {
	r, err := s.proc.Registers(tid)
	if err != nil {
		return err
	}
	r.Rip = addr
	return s.proc.SetRegisters(tid, &r)
}

func oldContinue(s *session, a *args) ([]byte, error) { return s.old(a, target.Action{}) }

func oldStep(s *session, a *args) ([]byte, error) {
	return s.old(a, target.Action{Kind: target.Step})
}

// oldContinueSignal: C SIG[;ADDR].
func oldContinueSignal(s *session, a *args) ([]byte, error) {
	act := target.Action{Signal: a.signal()}
	a.is(";")
	return s.old(a, act)
}

func oldStepSignal(s *session, a *args) ([]byte, error) {
	act := target.Action{Kind: target.Step, Signal: a.signal()}
	a.is(";")
	return s.old(a, act)
}

// vCtrlC interrupts like the byte 0x03, with a reply.
func vCtrlC(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	s.asked = true
	return ok(s.proc.Interrupt())
}

// kill: k has no reply.
func kill(s *session, a *args) ([]byte, error) {
	s.waiting, s.told = false, true
	s.proc.Kill()
	return nil, errNoReply
}

// vKill: vKill;PID is answered when the process is gone.
func vKill(s *session, a *args) ([]byte, error) {
	a.want(";")
	pid := a.id()
	if !a.done() {
		return nil, errSyntax
	}
	if !s.isOurs(pid) {
		return nil, errorf("no process %d here", pid)
	}
	if err := s.proc.Kill(); err != nil {
		return nil, err
	}
	s.killing = true
	return nil, errNoReply
}

// detach: D or D;PID lets the process run. The client may stay connected, without a process.
func detach(s *session, a *args) ([]byte, error) {
	if a.is(";") {
		if pid := a.id(); !s.isOurs(pid) {
			return nil, errorf("no process %d here", pid)
		}
	}
	if !a.done() {
		return nil, errSyntax
	}
	if err := s.proc.Detach(s.deliver); err != nil {
		return nil, err
	}
	s.detached, s.engaged, s.waiting = true, false, false
	s.message("Detaching from process %d\n", s.pid)
	return okReply, nil
}

// signalSet takes a list of gdb's signals, each followed by ';' but perhaps the last.
func (a *args) signalSet() (set target.SignalSet) {
	for len(a.b) > 0 {
		if sig := a.signal(); sig > 0 {
			set |= 1 << (sig - 1)
		}
		if !a.is(";") {
			break
		}
	}
	return set
}

// passSignals: QPassSignals:SIG;… are delivered without a stop.
func passSignals(s *session, a *args) ([]byte, error) {
	a.want(":")
	set := a.signalSet()
	if !a.done() {
		return nil, errSyntax
	}
	return ok(s.proc.PassSignals(set))
}

// programSignals: QProgramSignals:SIG;… are delivered when the client detaches.
func programSignals(s *session, a *args) ([]byte, error) {
	a.want(":")
	set := a.signalSet()
	if !a.done() {
		return nil, errSyntax
	}
	s.deliver = set
	return okReply, nil
}

// catchSyscalls: QCatchSyscalls:0, or :1 with the numbers wanted, none for all.
func catchSyscalls(s *session, a *args) ([]byte, error) {
	if a.is(":0") {
		if !a.done() {
			return nil, errSyntax
		}
		return ok(s.proc.CatchSyscalls(false, nil))
	}
	a.want(":1")
	var nrs []int
	for a.is(";") {
		nrs = append(nrs, a.length(1<<31-1))
	}
	if !a.done() {
		return nil, errSyntax
	}
	return ok(s.proc.CatchSyscalls(len(nrs) == 0, nrs))
}

// threadEvents: QThreadEvents:0 or :1.
func threadEvents(s *session, a *args) ([]byte, error) {
	a.want(":")
	on := a.is("1")
	if !on {
		a.want("0")
	}
	if !a.done() {
		return nil, errSyntax
	}
	return ok(s.proc.ThreadEvents(on))
}
