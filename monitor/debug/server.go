package debug

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

// Serve is the channel's half inside the monitor. It takes over inf, says hello and answers requests until the
// supervisor closes its end (nil) or sends garbage (an error). The payload then goes on without a debugger.
// conn's Write is called on vCPU threads too and must take whole frames: see FD.
func Serve(conn io.ReadWriter, inf Inferior) error {
	s := &server{conn: conn, inf: inf}
	hello := inf.Hello()
	hello.Version = Version
	s.write(frame(0, kindHello, &hello))
	s.session = newSession(inf, func(r *Report) { s.write(frame(0, kindReport, r)) })
	err := s.loop(bufio.NewReader(conn))
	s.session.detach(^uint64(0))
	inf.Attach(nil)
	return err
}

type server struct {
	conn    io.ReadWriter
	inf     Inferior
	session *session
	writing sync.Mutex
}

// write sends a frame. A supervisor that is gone is noticed by the reader.
func (s *server) write(f []byte) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.conn.Write(f)
}

func (s *server) loop(r io.Reader) error {
	for {
		id, k, body, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply, err := s.serve(k, body)
		if errors.Is(err, errMalformed) {
			return err
		}
		s.write(replyFrame(id, reply, err))
	}
}

// replyFrame: the reply's body follows a byte that says if it is one or a failure.
func replyFrame(id uint32, reply message, err error) []byte {
	r := replyBody{ok: err == nil, reply: reply}
	if err != nil {
		r.failure = failureOf(err)
	}
	return frame(id, kindReply, &r)
}

type replyBody struct {
	ok      bool
	failure failure
	reply   message
}

func (r *replyBody) fields(c *codec) {
	c.boolean(&r.ok)
	if !r.ok {
		r.failure.fields(c)
	} else if r.reply != nil {
		r.reply.fields(c)
	}
}

// handler serves one kind of request.
type handler func(s *server, body []byte) (message, error)

// handle makes a handler out of a typed function.
func handle[Q any, PQ interface {
	*Q
	message
}](f func(*server, *Q) (message, error)) handler {
	return func(s *server, body []byte) (message, error) {
		var q Q
		if err := decode(body, PQ(&q)); err != nil {
			return nil, err
		}
		return f(s, &q)
	}
}

func (s *server) serve(k kind, body []byte) (message, error) {
	h := handlers[k]
	if h == nil {
		return nil, ErrUnsupported
	}
	return h(s, body)
}
