package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var compatServers = []compatRow{
	{program: "redis-server", pkg: "redis-server", ran: "4,000 keys by redis-cli, BGSAVE, BGREWRITEAOF, SIGTERM, a restart from disk", drive: driveRedis(false)},
	{program: "redis-cli", pkg: "redis-tools", ran: "the same with redis-cli under kmdev too", drive: driveRedis(true)},
	{program: "nginx", pkg: "nginx-light", ran: "two workers as another user, 1,000 requests by 8 clients, a reload, SIGQUIT", drive: driveNginx},
	{program: "memcached", pkg: "memcached", ran: "4 threads, 4,000 sets and gets by 8 clients, SIGTERM", drive: driveMemcached},
	{program: "postgres", pkg: "postgresql-15", ran: "initdb, psql queries, pgbench, SIGTERM, kmdev itself as an ordinary user", drive: drivePostgres(asUser)},
	{program: "postgres", pkg: "postgresql-15", ran: "the same, root's payload dropping its rights first (setpriv)", drive: drivePostgres(dropRights)},
}

// server is a program that runs until told to end, and its output.
type server struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its output with it

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line
	next  int           // of lines: where await goes on
}

// serve starts c and returns once its output has matched ready as often as asked. A server that outlives its test is killed.
func serve(t *testing.T, c command, ready string, times int) *server {
	t.Helper()
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Dir = c.environment(), c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v: make setup", strings.Join(c.argv, " "), err)
	}
	s := &server{t: t, name: filepath.Base(c.argv[0]), cmd: cmd, more: make(chan struct{}), done: make(chan struct{})}
	go s.read(out)
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-s.done
	})
	s.await(ready, times)
	return s
}

func (s *server) read(out io.Reader) {
	for scan := bufio.NewScanner(out); scan.Scan(); {
		s.mu.Lock()
		s.lines = append(s.lines, scan.Text())
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
	}
	s.cmd.Wait()
	close(s.done)
}

// await returns when as many lines as asked, from where the last await ended, have matched.
func (s *server) await(pattern string, times int) {
	s.t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(compatPatience)
	for times > 0 {
		line, more := s.line()
		if more == nil {
			if want.MatchString(line) {
				times--
			}
			continue
		}
		select {
		case <-more:
		case <-s.done:
			if _, more := s.line(); more != nil {
				s.t.Fatalf("%s ended (%s) before it said %q:\n%s", s.name, status(s.cmd.ProcessState), pattern, s.output())
			}
			s.next--
		case <-late:
			s.t.Fatalf("%s never said %q:\n%s", s.name, pattern, s.output())
		}
	}
}

// line takes the next line of the output, or says by what to wait for it.
func (s *server) line() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.lines) {
		return "", s.more
	}
	s.next++
	return s.lines[s.next-1], nil
}

func (s *server) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail(strings.Join(s.lines, "\n"))
}

// end sends the server a signal and returns how it ended.
func (s *server) end(sig syscall.Signal) string {
	s.t.Helper()
	s.signal(sig)
	select {
	case <-s.done:
	case <-time.After(compatPatience):
		s.t.Fatalf("%s does not end on %v:\n%s", s.name, sig, s.output())
	}
	return status(s.cmd.ProcessState)
}

func (s *server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
}

// driveRedis fills a server, saves in the background and comes back from disk.
func driveRedis(clientToo bool) driver {
	return func(t *testing.T, s *session) result {
		var transcript strings.Builder
		cli := func(input string, args ...string) {
			c := s.nativeCommand(append([]string{"redis-cli", "-s", "$DIR/sock"}, args...)...)
			if clientToo {
				c = s.command(append([]string{"redis-cli", "-s", "$DIR/sock"}, args...)...)
			}
			c.stdin = input
			r := c.run(t)
			fmt.Fprintf(&transcript, "%s%s%s\n", r.Stdout, r.Stderr, r.Status)
		}
		start := func() *server {
			return serve(t, s.command("redis-server", "--port", "0", "--unixsocket", "$DIR/sock", "--dir", "$DIR", "--save", "",
				"--appendonly", "yes", "--maxmemory", "64mb"), "ready to accept connections", 1)
		}
		redis := start()
		var fill strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&fill, "SET key:%d %s\nLPUSH list:%d a b c\n", i, strings.Repeat("v", i%300), i%7)
		}
		cli(fill.String(), "--raw")
		cli("", "INCRBYFLOAT", "f", "1.5")
		cli("", "EVAL", "local s = 0 for i = 1, 1000 do s = s + i end return {s, redis.call('DBSIZE')}", "0")
		cli("", "BGSAVE")
		redis.await("Background saving terminated with success", 1)
		cli("", "BGREWRITEAOF")
		redis.await("Background AOF rewrite finished successfully", 1)
		cli("", "LRANGE", "list:1", "0", "5")
		fmt.Fprintln(&transcript, redis.end(syscall.SIGTERM))
		again := start()
		cli("GET key:1234\nLLEN list:3\nDBSIZE\nDEBUG SLEEP 0\nOBJECT ENCODING key:7\n")
		fmt.Fprintln(&transcript, again.end(syscall.SIGTERM))
		return result{Stdout: transcript.String()}
	}
}

// driveMemcached speaks the text protocol from 8 connections at once.
func driveMemcached(t *testing.T, s *session) result {
	argv := []string{"memcached", "-s", "$DIR/sock", "-t", "4", "-vv"}
	if os.Getuid() == 0 {
		argv = append(argv, "-u", "root")
	}
	m := serve(t, s.command(argv...), "server listening", 1)
	answers := concurrently(8, func(n int) string {
		conn, err := dialUnix(filepath.Join(s.dir, "sock"))
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(compatPatience))
		in := bufio.NewReader(conn)
		for i := range 250 {
			value := strings.Repeat("x", (n*250+i)%900)
			fmt.Fprintf(conn, "set k%d.%d 0 0 %d\r\n%s\r\nget k%d.%d\r\n", n, i, len(value), value, n, i)
			want := fmt.Sprintf("STORED\r\nVALUE k%d.%d 0 %d\r\n%s\r\nEND\r\n", n, i, len(value), value)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
				return fmt.Sprintf("%d.%d: %q, %v", n, i, got, err)
			}
		}
		fmt.Fprint(conn, "get k0.0\r\n")
		line, err := in.ReadString('\n')
		return fmt.Sprintf("%q %v", line, err)
	})
	return result{Stdout: strings.Join(answers, "\n"), Status: m.end(syscall.SIGTERM)}
}

// concurrently collects what n goroutines return, in their order.
func concurrently(n int, f func(int) string) []string {
	out := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = f(i) })
	}
	wg.Wait()
	return out
}
