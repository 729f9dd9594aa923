package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nginxConfig = `
worker_processes 2;
daemon off;
pid $DIR/nginx.pid;
error_log stderr notice;
events { worker_connections 64; }
http {
	access_log $DIR/access.log;
	client_body_temp_path $DIR/tmp/body; proxy_temp_path $DIR/tmp/proxy; fastcgi_temp_path $DIR/tmp/fastcgi;
	uwsgi_temp_path $DIR/tmp/uwsgi; scgi_temp_path $DIR/tmp/scgi;
	gzip on; gzip_min_length 10; gzip_types text/plain;
	server {
		listen unix:$DIR/sock;
		root $DIR/www;
		location /gone { return 410 "gone\n"; }
		location /back { proxy_pass http://unix:$DIR/sock:/page.txt; }
	}
}
`

// driveNginx asks 1,000 times, from 8 clients, across a reload.
func driveNginx(t *testing.T, s *session) result {
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("nginx.conf", s.expand(nginxConfig))
	write("www/page.txt", strings.Repeat("a page of text\n", 3000))
	write("www/small.html", "<p>small</p>\n")
	nginx := serve(t, s.command("nginx", "-p", "$DIR", "-c", "$DIR/nginx.conf"), "start worker process [0-9]+", 2)
	first := askAll(filepath.Join(s.dir, "sock"), 500)
	nginx.signal(syscall.SIGHUP)
	nginx.await("start worker process [0-9]+", 2)
	second := askAll(filepath.Join(s.dir, "sock"), 500)
	end := nginx.end(syscall.SIGQUIT)
	logged := strings.Count(readAll(t, filepath.Join(s.dir, "access.log")), "\n")
	return result{Stdout: first + second + fmt.Sprintln("logged", logged), Status: end}
}

// askAll sends n requests over 8 connections and says what came back.
func askAll(socket string, n int) string {
	answers := concurrently(8, func(c int) string {
		client := http.Client{Timeout: compatPatience, Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return dialUnix(socket)
		}}}
		defer client.CloseIdleConnections()
		seen := map[string]int{}
		for i := c; i < n; i += 8 {
			page := [...]string{"page.txt", "small.html", "missing", "gone", "back"}[i%5]
			seen[ask(&client, page)]++
		}
		return fmt.Sprint(seen)
	})
	return strings.Join(answers, "\n") + "\n"
}

func ask(client *http.Client, page string) string {
	r, err := client.Get("http://server/" + page)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return fmt.Sprintf("%s: %s, %d bytes, %v", page, r.Status, len(body), err)
}

func dialUnix(path string) (net.Conn, error) { return net.Dial("unix", path) }
