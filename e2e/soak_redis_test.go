package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// redisKeys bounds the data set, so that a server's memory has an end.
const redisKeys = 5000

// redisLoad is a steady load on a redis server until end is closed: what was written is read back, and a background save is
// made every few seconds.
func redisLoad(socket string, end <-chan struct{}) error {
	c, err := dialRedis(socket, end)
	if err != nil || c == nil {
		return err
	}
	defer c.conn.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-end:
			_, err := c.do("SHUTDOWN", "NOSAVE") // closes the connection
			if errors.Is(err, errClosed) {
				err = nil
			}
			return err
		case <-tick.C:
		}
		for i := range 10 {
			if err := c.writeAndRead((n*10 + i) % redisKeys); err != nil {
				return err
			}
		}
		if n%250 == 249 {
			if err := c.save(); err != nil {
				return err
			}
		}
	}
}

// dialRedis waits for the server's socket. nil if the end comes first.
func dialRedis(socket string, end <-chan struct{}) (*redisClient, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return &redisClient{conn, bufio.NewReader(conn)}, nil
		}
		select {
		case <-end:
			return nil, fmt.Errorf("the server never listened: %w", err)
		case <-tick.C:
		}
	}
}

// redisClient speaks RESP2, as far as needed: simple strings, errors, integers, bulk strings.
type redisClient struct {
	conn net.Conn
	r    *bufio.Reader
}

var errClosed = errors.New("the server has closed the connection")

func (c *redisClient) do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := c.conn.Write([]byte(b.String())); err != nil {
		return "", err
	}
	line, err := c.line()
	if err != nil || line == "" {
		return "", err
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n+2)
		for at := 0; at < len(text); {
			got, err := c.r.Read(text[at:])
			if err != nil {
				return "", err
			}
			at += got
		}
		return string(text[:n]), nil
	}
	return "", fmt.Errorf("%v: %s", args, line)
}

func (c *redisClient) line() (string, error) {
	text, err := c.r.ReadString('\n')
	if err != nil {
		if os.IsTimeout(err) {
			return "", err
		}
		return "", errClosed
	}
	return strings.TrimSpace(text), nil
}

func (c *redisClient) writeAndRead(key int) error {
	name, value := fmt.Sprint("key:", key), strings.Repeat(fmt.Sprint(key, " "), 20)
	if _, err := c.do("SET", name, value); err != nil {
		return err
	}
	got, err := c.do("GET", name)
	if err == nil && got != value {
		err = fmt.Errorf("%s is %q, not %q", name, got, value)
	}
	return err
}

// save starts a background save, if none is under way, after a look at how the one before has ended.
func (c *redisClient) save() error {
	info, err := c.do("INFO", "persistence")
	switch {
	case err != nil:
		return err
	case !strings.Contains(info, "rdb_last_bgsave_status:ok"):
		return fmt.Errorf("a background save has failed:\n%s", info)
	case strings.Contains(info, "rdb_bgsave_in_progress:1"):
		return nil
	}
	_, err = c.do("BGSAVE")
	return err
}
