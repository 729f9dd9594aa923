package gdbserver

import (
	"fmt"
	"slices"
)

// ptid names a process and a thread in it. In packets 0 is any and -1 is all.
type ptid struct{ pid, tid int }

const (
	anyID = 0
	allID = -1
)

// threadID takes a thread-id: [pPID.]TID or pPID ("Packets", thread-id syntax).
func (a *args) threadID() ptid {
	if !a.is("p") {
		return ptid{anyID, a.id()}
	}
	id := ptid{a.id(), allID}
	if a.is(".") {
		id.tid = a.id()
	}
	if id.pid == allID && id.tid != allID {
		a.fail()
	}
	return id
}

func (a *args) id() int {
	if a.is("-1") {
		return allID
	}
	return a.length(1<<31 - 1)
}

// idText is the thread-id of one of our threads, as the client wants it.
func (s *session) idText(tid int) string {
	if !s.client.multiprocess {
		return fmt.Sprintf("%x", tid)
	}
	return fmt.Sprintf("p%x.%x", s.pid, tid)
}

// isOurs tells if an id can mean the process.
func (s *session) isOurs(pid int) bool { return pid == s.pid || pid == anyID || pid == allID }

// thread finds the thread that an id means: any is the one that stopped last.
func (s *session) thread(id ptid) (int, error) {
	if !s.isOurs(id.pid) {
		return 0, errorf("no process %d here", id.pid)
	}
	if id.tid == anyID || id.tid == allID {
		return s.current(), nil
	}
	return id.tid, nil
}

// current is the thread that packets without one mean: the last one that stopped, or the first there is.
func (s *session) current() int {
	if stop, ok := s.proc.Stopped(); ok && stop.Tid != 0 {
		return stop.Tid
	}
	if list, err := s.proc.Threads(); err == nil && len(list) > 0 {
		return list[0]
	}
	return 0
}

// alive tells if the process has that thread.
func (s *session) alive(tid int) bool {
	list, err := s.proc.Threads()
	return err == nil && slices.Contains(list, tid)
}
