package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	redisRequests = 5000 // of each kind
	nginxRequests = 2000
	startWait     = 30 * time.Second
)

// servers are measured by a client outside: microseconds a request.
func (b *bench) servers() []workload {
	runs := min(b.runs, 3)
	return []workload{
		{"redis, set and get", "µs", 2 * redisRequests, runs, redis},
		{"nginx, 1 KiB", "µs", nginxRequests, runs, nginx},
	}
}

// serve starts a server in a directory of its own, waits until ready says so, lets use measure it, and ends it by end.
func serve(prefix, argv []string, ready func() error, use func() (float64, error), end func() error) (result float64, err error) {
	all := append(prefix[:len(prefix):len(prefix)], argv...)
	cmd := exec.Command(all[0], all[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if err = waitFor(ready, done); err == nil {
		result, err = use()
	}
	if e := end(); err == nil {
		err = e
	}
	select {
	case e := <-done:
		if err == nil {
			err = e
		}
	case <-time.After(startWait):
		cmd.Process.Kill()
		err = fmt.Errorf("%v does not end", all)
	}
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", all, err, out.String())
	}
	return result, err
}

func waitFor(ready func() error, done <-chan error) error {
	var err error
	for start := time.Now(); time.Since(start) < startWait; time.Sleep(5 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
		if len(done) > 0 {
			return fmt.Errorf("it has ended")
		}
	}
	return err
}

// redis is measured by redis-benchmark, over a Unix socket, with 50 connections.
func redis(prefix []string) (float64, error) {
	dir, err := os.MkdirTemp("", "kmdev-bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "redis")
	return serve(prefix, []string{"redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", ""},
		func() error {
			c, err := net.Dial("unix", socket)
			if err == nil {
				c.Close()
			}
			return err
		},
		func() (float64, error) {
			start := time.Now()
			out, err := quiet(exec.Command("redis-benchmark", "-s", socket, "-q", "-t", "set,get", "-n", strconv.Itoa(redisRequests))).Output()
			took := time.Since(start)
			if err == nil && strings.Count(string(out), "requests per second") != 2 {
				err = fmt.Errorf("redis-benchmark: %q", out)
			}
			return float64(took.Microseconds()) / (2 * redisRequests), err
		},
		func() error {
			return quiet(exec.Command("redis-cli", "-s", socket, "shutdown", "nosave")).Run()
		})
}

const nginxConfig = `daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
worker_processes 2;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen 127.0.0.1:%[2]d; root %[1]s; }
}
`

// nginx serves a file on loopback to four clients that keep their connections.
func nginx(prefix []string) (float64, error) {
	dir, err := os.MkdirTemp("", "kmdev-bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	config := filepath.Join(dir, "nginx.conf")
	page := bytes.Repeat([]byte("x"), 1024)
	for name, content := range map[string][]byte{config: fmt.Appendf(nil, nginxConfig, dir, port), filepath.Join(dir, "page"): page} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return 0, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the workers have another user
		return 0, err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/page", port)
	get := func() error { return fetch(url, page) }
	return serve(prefix, []string{"/usr/sbin/nginx", "-c", config}, get, func() (float64, error) { return requests(get) }, func() error {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGTERM)
	})
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func fetch(url string, want []byte) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err == nil && (r.StatusCode != http.StatusOK || !bytes.Equal(got, want)) {
		err = fmt.Errorf("%s: %s, %d bytes", url, r.Status, len(got))
	}
	return err
}

// requests makes nginxRequests by four clients at a time: microseconds each.
func requests(get func() error) (float64, error) {
	const clients = 4
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = clients
	errs := make(chan error, clients)
	start := time.Now()
	for range clients {
		go func() {
			for range nginxRequests / clients {
				if err := get(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range clients {
		if err := <-errs; first == nil {
			first = err
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return float64(time.Since(start).Microseconds()) / nginxRequests, first
}
