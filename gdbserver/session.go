package gdbserver

import (
	"context"
	"net"
	"time"

	"kmdev/target"
)

// session is one client's connection from its first packet to its last.
type session struct {
	*Server
	net  net.Conn
	conn *conn
	in   chan input
	quit chan struct{}
	pid  int

	client   clientFeatures
	general  ptid // Hg
	cont     ptid // Hc
	xfers    xferCache
	files    fileTable
	noAckNow bool // after the reply being sent

	engaged  bool // the process is ours: it was stopped for this client
	engaging bool // … being stopped
	held     []input
	waiting  bool // the client waits for a stop reply
	asked    bool // the client has interrupted the process
	killing  bool // the client waits for OK to vKill
	detached bool
	ended    bool // the process is gone
	told     bool // … and the client knows
	lingers  bool // … and the connection is about to end
	status   target.WaitStatus
	over     bool // end the connection

	deliver target.SignalSet // QProgramSignals
}

// clientFeatures are what qSupported and others told about the client.
type clientFeatures struct {
	multiprocess bool
	swbreak      bool
	hwbreak      bool
	noResumed    bool
	lldb         bool
	binaryUpload bool
	extended     bool
	errors       errorStyle
}

func newSession(srv *Server, nc net.Conn) *session {
	s := &session{
		Server:  srv,
		net:     nc,
		conn:    &conn{rw: nc},
		in:      make(chan input),
		quit:    make(chan struct{}),
		pid:     srv.proc.Info().Pid,
		deliver: target.AllSignals,
	}
	s.client.errors = styleGDB
	if srv.opts.Trace != nil {
		s.conn.log = s.trace
	}
	return s
}

// LingerTime is how long a client may take to close after the process has ended, before the connection is closed for it.
const LingerTime = 2 * time.Second

// run serves the client until it leaves, the process has ended or ctx is done. It returns the next client, if that was
// why this one was found to be gone.
func (s *session) run(ctx context.Context, conns <-chan net.Conn) net.Conn {
	go s.conn.read(s.in, s.quit)
	defer s.leave()
	events := s.proc.Events()
	var next net.Conn
	for !s.over {
		in := s.in
		if s.engaging {
			in = nil // packets wait until the process has stopped
		}
		select {
		case <-ctx.Done():
			return next
		case i := <-in:
			s.input(i)
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			s.event(e)
		case c := <-conns:
			if hungUp(s.net) {
				next, conns = c, nil // when this client's last packets are served
			} else {
				go refuse(ctx, c, s.net)
			}
		}
	}
	return next
}

// leave ends the session: a client that did not say goodbye leaves the process as it is.
func (s *session) leave() {
	close(s.quit)
	s.files.closeAll()
	if s.engaged && !s.detached && !s.ended {
		s.proc.Disconnect()
		s.message("Remote side has terminated connection. It can connect again.\n")
	}
}

// input takes what the client sent.
func (s *session) input(i input) {
	if i.err != nil {
		s.over = true
		return
	}
	if !s.engaged && !s.detached && !s.ended {
		s.engage()
		if s.engaging {
			s.held = append(s.held, i)
			return
		}
	}
	switch {
	case i.interrupt:
		s.asked = true
		s.proc.Interrupt()
	case i.tooLong:
		s.reply(nil, errorf("a packet of more than %d bytes", maxPacket), false)
	default:
		s.packet(i.packet)
	}
}

// engage takes the process for this client: it stops, for every signal too. It is not done before the client's first
// packet: somebody who just connects and closes (a port scan, a health check) does not disturb the payload.
func (s *session) engage() {
	s.engaged = true
	s.busy.Store(true)
	s.proc.PassSignals(0)
	if _, stopped := s.proc.Stopped(); stopped {
		return
	}
	s.engaging = s.proc.Halt() == nil
}

// event takes what happened to the process.
func (s *session) event(e target.Event) {
	if e.Kind == target.EventExited {
		s.exited(e.Status)
	}
	if s.engaging {
		s.engaging = false
		for _, i := range s.held {
			s.input(i)
		}
		s.held = nil
		return
	}
	if s.waiting {
		s.waiting = false
		s.send(s.stopReply(e))
	}
	if s.ended {
		s.linger()
	}
}

func (s *session) exited(status target.WaitStatus) {
	s.ended, s.status = true, status
	if s.killing {
		s.killing, s.waiting, s.told = false, false, true
		s.send([]byte("OK"))
	}
}

// linger ends the connection after the process's end: at once when the client knows of it, else it may still ask, or ask
// for the process to go on.
func (s *session) linger() {
	if c, ok := s.net.(interface{ CloseWrite() error }); ok && (s.told || s.detached) {
		c.CloseWrite()
	}
	if !s.lingers {
		s.lingers = true
		s.net.SetReadDeadline(time.Now().Add(LingerTime))
	}
}

func (s *session) send(body []byte) {
	if s.conn.send(body) != nil {
		s.over = true
	}
}
