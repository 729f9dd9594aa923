package debug

import (
	"errors"

	"golang.org/x/sys/unix"
)

// handlers serves the requests. Run control goes to the session, the rest straight to the Inferior.
var handlers = map[kind]handler{
	kindThreads: handle(func(s *server, _ *empty) (message, error) {
		return &threadsBody{s.inf.Threads()}, nil
	}),
	kindResume: handle(func(s *server, q *actionsBody) (message, error) {
		return nil, s.session.resume(q.actions)
	}),
	kindInterrupt: handle(func(s *server, q *boolBody) (message, error) {
		s.session.interrupted(q.on)
		return nil, nil
	}),
	kindDetach: handle(func(s *server, q *setBody) (message, error) {
		return nil, s.session.detach(q.set)
	}),
	kindDisconnect: handle(func(s *server, _ *empty) (message, error) {
		s.session.disconnect()
		return nil, nil
	}),
	kindRegs: handle(func(s *server, q *tidBody) (message, error) {
		r, err := s.inf.Regs(q.tid)
		return &regsBody{q.tid, r}, err
	}),
	kindSetRegs: handle(func(s *server, q *regsBody) (message, error) {
		return nil, s.session.setRegs(q.tid, &q.regs)
	}),
	kindXsave: handle(func(s *server, q *tidBody) (message, error) {
		area, err := s.inf.Xsave(q.tid)
		return &xsaveBody{q.tid, area}, err
	}),
	kindSetXsave: handle(func(s *server, q *xsaveBody) (message, error) {
		return nil, s.inf.SetXsave(q.tid, q.area)
	}),
	kindSiginfo: handle(func(s *server, q *tidBody) (message, error) {
		info, err := s.inf.Siginfo(q.tid)
		return &siginfoBody{q.tid, info}, err
	}),
	kindSetSiginfo: handle(func(s *server, q *siginfoBody) (message, error) {
		return nil, s.inf.SetSiginfo(q.tid, &q.info)
	}),
	kindRead:  handle(readMemory),
	kindWrite: handle(writeMemory),
	kindVMAs: handle(func(s *server, _ *empty) (message, error) {
		return &vmasBody{s.inf.VMAs()}, nil
	}),
	kindAuxv: handle(func(s *server, _ *empty) (message, error) {
		return &bytesBody{s.inf.Auxv()}, nil
	}),
	kindInsert: handle(func(s *server, q *bpBody) (message, error) {
		hidden, err := s.session.insert(q.bp)
		return &bytesBody{hidden}, err
	}),
	kindRemove: handle(func(s *server, q *bpBody) (message, error) {
		return nil, s.session.remove(q.bp)
	}),
	kindPass: handle(func(s *server, q *setBody) (message, error) {
		return nil, s.session.passSignals(q.set)
	}),
	kindCatch: handle(func(s *server, q *catchBody) (message, error) {
		return nil, s.inf.CatchSyscalls(q.all, q.nrs)
	}),
	kindThreadEvents: handle(func(s *server, q *boolBody) (message, error) {
		s.session.threadEvents(q.on)
		return nil, nil
	}),
	kindKill: handle(func(s *server, _ *empty) (message, error) {
		return nil, s.inf.Kill()
	}),
}

func readMemory(s *server, q *memoryBody) (message, error) {
	if q.n > maxTransfer {
		return nil, unix.EINVAL
	}
	p := make([]byte, q.n)
	n, err := s.inf.ReadMemory(q.addr, p)
	hole, err := holeOf(err)
	return &memoryReply{data: p[:n], n: uint32(n), hole: hole}, err
}

func writeMemory(s *server, q *memoryBody) (message, error) {
	n, err := s.inf.WriteMemory(q.addr, q.data)
	hole, err := holeOf(err)
	return &memoryReply{n: uint32(n), hole: hole}, err
}

// holeOf tells an access that met unmapped memory from one that failed altogether.
func holeOf(err error) (bool, error) {
	if errors.Is(err, unix.EFAULT) {
		return true, nil
	}
	return false, err
}
