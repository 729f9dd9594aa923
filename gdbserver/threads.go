package gdbserver

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
)

var threadPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"H":                {serve: setThread},
		"T":                {serve: threadAlive},
		"qC":               {serve: currentThread},
		"qfThreadInfo":     {serve: firstThreads},
		"qsThreadInfo":     {serve: moreThreads},
		"qThreadExtraInfo": {serve: threadExtra},
		"qGetTLSAddr":      {serve: tlsAddress},
	}
})

// setThread: Hg for registers and memory, Hc for c and s.
func setThread(s *session, a *args) ([]byte, error) {
	slot := &s.general
	if a.is("c") {
		slot = &s.cont
	} else {
		a.want("g")
	}
	id, tid, err := s.takeThread(a)
	if err != nil {
		return nil, err
	}
	if id.tid > 0 && !s.alive(tid) {
		return nil, errorf("no thread %d", tid)
	}
	*slot = id
	return okReply, nil
}

// takeThread takes the thread-id that a packet ends with, and the thread that it means.
func (s *session) takeThread(a *args) (id ptid, tid int, err error) {
	id = a.threadID()
	if !a.done() {
		return id, 0, errSyntax
	}
	tid, err = s.thread(id)
	return id, tid, err
}

// threadAlive: T THREAD.
func threadAlive(s *session, a *args) ([]byte, error) {
	_, tid, err := s.takeThread(a)
	if err == nil && !s.alive(tid) {
		err = errorf("no thread %d", tid)
	}
	return ok(err)
}

func currentThread(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	return []byte("QC" + s.idText(s.current())), nil
}

func firstThreads(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	list, err := s.proc.Threads()
	if err != nil || len(list) == 0 {
		return []byte("l"), err
	}
	ids := make([]string, len(list))
	for i, tid := range list {
		ids[i] = s.idText(tid)
	}
	return []byte("m" + strings.Join(ids, ",")), nil
}

func moreThreads(_ *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	return []byte("l"), nil
}

// threadExtra: qThreadExtraInfo,THREAD → its name.
func threadExtra(s *session, a *args) ([]byte, error) {
	a.want(",")
	_, tid, err := s.takeThread(a)
	if err != nil {
		return nil, err
	}
	t, err := s.proc.Thread(tid)
	if err != nil {
		return nil, err
	}
	return appendHex(nil, []byte(t.Name)), nil
}

// threadsXML is the object of qXfer:threads ("Thread List Format").
func (s *session) threadsXML(string) ([]byte, error) {
	list, err := s.proc.Threads()
	if err != nil {
		return nil, err
	}
	out := []byte("<?xml version=\"1.0\"?>\n<threads>\n")
	for _, tid := range list {
		t, err := s.proc.Thread(tid)
		if err != nil {
			continue // it has just exited
		}
		out = fmt.Appendf(out, "<thread id=\"%s\"", s.idText(tid))
		if t.Core >= 0 {
			out = fmt.Appendf(out, " core=\"%d\"", t.Core)
		}
		if t.Name != "" {
			out = fmt.Appendf(out, " name=\"%s\"", xmlText(t.Name))
		}
		if h := s.handle(tid); h != 0 {
			out = append(out, " handle=\""...)
			out = append(appendHex(out, binary.LittleEndian.AppendUint64(nil, h)), '"')
		}
		out = append(out, "/>\n"...)
	}
	return append(out, "</threads>\n"...), nil
}

// handle is a thread's pthread_t: glibc's and musl's are the thread pointer, which never changes once it is set.
func (s *session) handle(tid int) uint64 {
	if h := s.handles[tid]; h != 0 {
		return h
	}
	r, err := s.proc.Registers(tid)
	if err != nil {
		return 0
	}
	s.handles[tid] = r.FsBase
	return r.FsBase
}
