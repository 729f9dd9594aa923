package debug

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Client is the supervisor's half of the channel. Its methods may be called from any goroutine; each sends one request
// and waits for its reply. After the monitor is gone they return ErrClosed.
type Client struct {
	conn   io.ReadWriteCloser
	hello  Hello
	nextID atomic.Uint32

	writing sync.Mutex

	mu      sync.Mutex
	waiting map[uint32]chan []byte
	closed  bool
}

// NewClient waits for the monitor's hello. From then on report is called for every report, in order, from one goroutine,
// and gone once, when the channel has ended; they may not call the Client's other methods.
func NewClient(conn io.ReadWriteCloser, report func(Report), gone func()) (*Client, error) {
	c := &Client{conn: conn, waiting: map[uint32]chan []byte{}}
	r := bufio.NewReader(conn)
	_, k, body, err := readFrame(r)
	if err == io.EOF {
		return nil, ErrClosed
	}
	if err != nil {
		return nil, err
	}
	if k != kindHello || decode(body, &c.hello) != nil || c.hello.Version != Version {
		return nil, fmt.Errorf("the monitor speaks another version of the debug channel (this is version %d): use the kmdev that started it", Version)
	}
	go func() {
		c.read(r, report)
		c.close()
		gone()
	}()
	return c, nil
}

// read hands out replies and reports until the channel ends.
func (c *Client) read(r io.Reader, report func(Report)) {
	for {
		id, k, body, err := readFrame(r)
		if err != nil {
			return
		}
		switch k {
		case kindReport:
			var rep Report
			if decode(body, &rep) != nil {
				return
			}
			report(rep)
		case kindReply:
			c.mu.Lock()
			ch := c.waiting[id]
			delete(c.waiting, id)
			c.mu.Unlock()
			if ch != nil {
				ch <- body
			}
		}
	}
}

// close wakes everyone who waits for a reply.
func (c *Client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for id, ch := range c.waiting {
		delete(c.waiting, id)
		close(ch)
	}
	c.conn.Close()
}

// Close ends the channel: the payload goes on without a debugger.
func (c *Client) Close() error { return c.conn.Close() }

// call sends a request and fills reply (nil if it has no body) in.
func (c *Client) call(k kind, request, reply message) error {
	id := c.nextID.Add(1)
	ch := make(chan []byte, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.waiting[id] = ch
	c.mu.Unlock()

	c.writing.Lock()
	_, err := c.conn.Write(frame(id, k, request))
	c.writing.Unlock()
	if err != nil {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
		return ErrClosed
	}
	body, ok := <-ch
	if !ok {
		return ErrClosed
	}
	r := replyBody{reply: reply}
	if err := decode(body, &r); err != nil {
		return err
	}
	if !r.ok {
		return r.failure.err()
	}
	return nil
}

// Hello gives the constant facts.
func (c *Client) Hello() Hello { return c.hello }

// Threads lists the payload's threads.
func (c *Client) Threads() ([]Thread, error) {
	var r threadsBody
	err := c.call(kindThreads, &empty{}, &r)
	return r.threads, err
}

// Resume lets the parked payload go on: for each thread the first action that matches it counts, AllThreads matches
// every thread, and a thread that none matches stays. One report answers it, perhaps before Resume returns.
func (c *Client) Resume(actions []Action) error {
	return c.call(kindResume, &actionsBody{actions}, nil)
}

// Interrupt stops a running payload. If something else stops it just then, that is reported first, and StopInterrupt at
// the next Resume.
func (c *Client) Interrupt() error { return c.call(kindInterrupt, &boolBody{false}, nil) }

// Halt stops a running payload. If something else stops it just then, that is all there is to report.
func (c *Client) Halt() error { return c.call(kindInterrupt, &boolBody{true}, nil) }

// Detach lets the payload go on without stops. Signals in deliver (bit sig-1) that threads stopped for are delivered.
func (c *Client) Detach(deliver uint64) error { return c.call(kindDetach, &setBody{deliver}, nil) }

// Disconnect removes breakpoints and lets all signals pass, but moves nothing.
func (c *Client) Disconnect() error { return c.call(kindDisconnect, &empty{}, nil) }

// Regs and the following are Inferior's methods across the channel.
func (c *Client) Regs(tid int) (Regs, error) {
	var r regsBody
	err := c.call(kindRegs, &tidBody{tid}, &r)
	return r.regs, err
}

func (c *Client) SetRegs(tid int, r *Regs) error {
	return c.call(kindSetRegs, &regsBody{tid, *r}, nil)
}

func (c *Client) Xsave(tid int) ([]byte, error) {
	var r xsaveBody
	err := c.call(kindXsave, &tidBody{tid}, &r)
	return r.area, err
}

func (c *Client) SetXsave(tid int, area []byte) error {
	return c.call(kindSetXsave, &xsaveBody{tid, area}, nil)
}

func (c *Client) Siginfo(tid int) (Siginfo, error) {
	var r siginfoBody
	err := c.call(kindSiginfo, &tidBody{tid}, &r)
	return r.info, err
}

func (c *Client) SetSiginfo(tid int, info *Siginfo) error {
	return c.call(kindSetSiginfo, &siginfoBody{tid, *info}, nil)
}

func (c *Client) ReadMemory(addr uint64, p []byte) (int, error) {
	return c.transfer(addr, p, func(addr uint64, p []byte) (int, bool, error) {
		var r memoryReply
		err := c.call(kindRead, &memoryBody{addr: addr, n: uint32(len(p))}, &r)
		return copy(p, r.data), r.hole, err
	})
}

func (c *Client) WriteMemory(addr uint64, p []byte) (int, error) {
	return c.transfer(addr, p, func(addr uint64, p []byte) (int, bool, error) {
		var r memoryReply
		err := c.call(kindWrite, &memoryBody{addr: addr, data: p}, &r)
		return min(int(r.n), len(p)), r.hole, err
	})
}

// transfer moves memory in pieces that a frame can hold.
func (c *Client) transfer(addr uint64, p []byte, piece func(uint64, []byte) (int, bool, error)) (int, error) {
	done := 0
	for done < len(p) {
		want := min(len(p)-done, maxTransfer)
		n, hole, err := piece(addr+uint64(done), p[done:done+want])
		done += n
		switch {
		case err != nil:
			return done, err
		case hole || n < want:
			return done, unix.EFAULT
		}
	}
	return done, nil
}

func (c *Client) VMAs() ([]VMA, error) {
	var r vmasBody
	err := c.call(kindVMAs, &empty{}, &r)
	return r.vmas, err
}

func (c *Client) Auxv() ([]byte, error) {
	var r bytesBody
	err := c.call(kindAuxv, &empty{}, &r)
	return r.data, err
}

func (c *Client) InsertBreakpoint(b Breakpoint) (hidden []byte, err error) {
	var r bytesBody
	err = c.call(kindInsert, &bpBody{b}, &r)
	return r.data, err
}

func (c *Client) RemoveBreakpoint(b Breakpoint) error { return c.call(kindRemove, &bpBody{b}, nil) }

func (c *Client) PassSignals(set uint64) error { return c.call(kindPass, &setBody{set}, nil) }

func (c *Client) CatchSyscalls(all bool, nrs []int) error {
	return c.call(kindCatch, &catchBody{all, nrs}, nil)
}

// ThreadEvents makes the creation and exit of threads stop the payload.
func (c *Client) ThreadEvents(on bool) error {
	return c.call(kindThreadEvents, &boolBody{on}, nil)
}

func (c *Client) Kill() error { return c.call(kindKill, &empty{}, nil) }
