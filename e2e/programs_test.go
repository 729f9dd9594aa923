package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is an unmodified program of the distribution on real input.
// In args, $DATA is a text file of some MB and $DIR an empty scratch directory.
type program struct {
	name  string
	argv  []string
	stdin string
	// files the program makes in $DIR, compared too
	makes []string
}

const pythonThreads = `
import threading, queue, hashlib
q, out = queue.Queue(), []
def work():
    while (n := q.get()) is not None:
        out.append((n, hashlib.sha256(str(n).encode()).hexdigest()))
ts = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in ts]
[q.put(i) for i in range(500)]
[q.put(None) for _ in ts]
[t.join() for t in ts]
print(len(out), sorted(out)[123])
`

const pythonSockets = `
import socket, threading
s = socket.create_server(("127.0.0.1", 0))
def serve():
    c, _ = s.accept()
    with c, c.makefile("rw") as f:
        for line in f:
            f.write(line.upper()); f.flush()
t = threading.Thread(target=serve); t.start()
with socket.create_connection(s.getsockname()) as c, c.makefile("rw") as f:
    for w in ["one", "two", "three"]:
        f.write(w + "\n"); f.flush()
        print(f.readline().strip())
t.join()
`

const pythonImports = `
import asyncio, collections, csv, ctypes, datetime, decimal, email, fractions, functools, glob, http.client, io, itertools
import json, logging, math, mmap, os, pathlib, pickle, random, re, select, signal, sqlite3, ssl, statistics, struct, sys
import tempfile, time, unittest, urllib.parse, uuid, xml.etree.ElementTree, zipfile, zlib
db = sqlite3.connect(":memory:")
db.execute("create table t(a, b)")
db.executemany("insert into t values (?, ?)", [(i, i * i) for i in range(1000)])
print(db.execute("select sum(b), count(*) from t where a % 7 = 3").fetchone())
print(decimal.Decimal(2).sqrt(), fractions.Fraction(3, 9), zlib.crc32(b"kmdev"))
random.seed(42); print(random.random(), statistics.mean(range(10)))
m = mmap.mmap(-1, 8192); m[5000:5004] = b"mmap"; print(m[4998:5006])
async def main():
    r = await asyncio.gather(*(asyncio.sleep(0.001 * (i % 3), i) for i in range(20)))
    print(sum(r))
asyncio.run(main())
print(json.dumps({"a": [1, 2, {"b": None}]}, sort_keys=True), re.sub(r"(\w+)", r"<\1>", "a bc"))
print(ctypes.CDLL(None).strlen(b"four"))
signal.signal(signal.SIGUSR1, lambda s, f: print("signal", s)); os.kill(os.getpid(), signal.SIGUSR1)
sys.exit(7)
`

const nodeScript = `
const crypto = require('crypto'), fs = require('fs'), zlib = require('zlib'), net = require('net'), { Worker } = require('worker_threads');
console.log(crypto.createHash('sha256').update('kmdev').digest('hex'));
const packed = zlib.gzipSync(Buffer.alloc(1e6, 'abc'));
console.log(zlib.gunzipSync(packed).length, [3, 1, 2].sort(), new Map([[1, 2]]).size);
let heap = []; for (let i = 0; i < 2e5; i++) heap.push({ i, s: 'x' + i }); console.log(heap.length);
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); } console.log(fib(25));
const server = net.createServer(c => c.on('data', d => { c.end(d.toString().toUpperCase()); })).listen(0, '127.0.0.1', () => {
  const c = net.connect(server.address().port, '127.0.0.1'); c.write('hello');
  c.on('data', d => console.log(d.toString())).on('close', () => { server.close(); worker(); });
});
function worker() {
  const w = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
  w.on('message', m => console.log('worker', m)).on('exit', () => setTimeout(() => { console.log('timer'); process.exitCode = 6; }, 5));
}
`

const perlScript = `
use strict; use warnings; use List::Util qw(sum); use POSIX qw(floor); use Digest::SHA qw(sha256_hex); use Socket;
my %%count; open(my $f, '<', '$DATA') or die; while (<$f>) { $count{length $_}++ } close $f;
print join(',', map { "$_=$count{$_}" } (sort { $a <=> $b } keys %%count)[0..5]), "\n";
print sum(1..100), ' ', floor(3.7), ' ', sha256_hex('kmdev'), "\n";
$SIG{USR1} = sub { print "signal\n" }; kill 'USR1', $$; $SIG{ALRM} = sub { die "alarm\n" };
eval { alarm 1; select(undef, undef, undef, 30); }; print "eval: $@"; exit 4;
`

const luaScript = `
local t = {} for i = 1, 200000 do t[i] = (i * 7919) % 100003 end table.sort(t) print(t[1], t[100000], #t)
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) print(co(), co(), co())
print(string.format("%5.2f %s", math.pi, ("x"):rep(5)), pcall(error, "caught")) os.exit(3)
`

const sqlScript = `
pragma journal_mode=wal; create table t(id integer primary key, name text, value real);
with recursive n(i) as (select 1 union all select i+1 from n where i < 20000) insert into t select i, 'name ' || i, i * 0.5 from n;
create index byname on t(name); select count(*), sum(value), max(name) from t; select * from t where name = 'name 777';
delete from t where id % 3 = 0; vacuum; select count(*) from t; pragma integrity_check;
`

const awkScript = `{ n[length($0) % 10]++; for (i = 1; i <= NF; i++) w[$i]++ } END { for (i = 0; i < 10; i++) print i, n[i]; m = 0; for (k in w) if (w[k] > m) m = w[k]; print m, NR }`

var programs = []program{
	{name: "busybox sha256sum", argv: []string{"busybox", "sha256sum", "$DATA"}},
	{name: "busybox awk", argv: []string{"busybox", "awk", awkScript, "$DATA"}},
	{name: "busybox gzip", argv: []string{"busybox", "gzip", "-c", "$DATA"}},
	{name: "busybox sort", argv: []string{"busybox", "sort", "-r", "$DATA"}},
	{name: "busybox vi-less tools", argv: []string{"busybox", "ls", "-la", "/usr/share/doc/bc"}},
	{name: "sqlite3", argv: []string{"sqlite3", "$DIR/test.db"}, stdin: sqlScript},
	{name: "lua", argv: []string{"lua5.4", "-e", luaScript}},
	{name: "jq", argv: []string{"jq", "-c", "[.[] | {k: .id, v: (.tags | length)}] | group_by(.v) | map({v: .[0].v, n: length})"}, stdin: jsonData()},
	{name: "gawk", argv: []string{"gawk", awkScript, "$DATA"}},
	{name: "bc", argv: []string{"bc", "-lq"}, stdin: "scale=300\n4*a(1)\n2^4000\ne(1)\n"},
	{name: "openssl dgst", argv: []string{"openssl", "dgst", "-sha512", "-hmac", "key", "$DATA"}},
	{name: "openssl enc", argv: []string{"openssl", "enc", "-aes-256-cbc", "-K", strings.Repeat("0f", 32), "-iv", strings.Repeat("a1", 16), "-in", "$DATA"}},
	{name: "openssl prime", argv: []string{"openssl", "prime", "-checks", "20", "170141183460469231731687303715884105727"}},
	{name: "xz", argv: []string{"xz", "-3", "-T1", "-c", "$DATA"}},
	{name: "xz threads", argv: []string{"xz", "-1", "-T4", "--block-size=300KiB", "-c", "$DATA"}},
	{name: "zstd", argv: []string{"zstd", "-q", "-7", "-T3", "$DATA", "-o", "$DIR/out.zst"}, makes: []string{"out.zst"}},
	{name: "zstd decompress", argv: []string{"zstd", "-dqc", "$DATA.zst"}},
	{name: "python threads", argv: []string{"/usr/bin/python3", "-c", pythonThreads}},
	{name: "python sockets", argv: []string{"/usr/bin/python3", "-c", pythonSockets}},
	{name: "python imports", argv: []string{"/usr/bin/python3", "-c", pythonImports}},
	{name: "python traceback", argv: []string{"/usr/bin/python3", "-c", "import os\nos.open('/nowhere', 0)"}},
	{name: "node", argv: []string{"node", "-e", nodeScript}},
	{name: "node error", argv: []string{"node", "-e", "process.stdout.write('out'); process.exit(9)"}},
	{name: "perl", argv: []string{"perl", "-e", strings.ReplaceAll(perlScript, "%%", "%")}},
	{name: "perl dies", argv: []string{"perl", "-e", `die "in perl\n"`}},
	{name: "cat", argv: []string{"cat", "-", "$DATA"}, stdin: "from stdin\n"},
	{name: "grep", argv: []string{"grep", "-c", "ab.*cd", "$DATA"}},
	{name: "gzip", argv: []string{"gzip", "-9", "-n", "-c", "$DATA"}},
	{name: "tar", argv: []string{"tar", "-C", "/usr/share/doc", "-cf", "$DIR/doc.tar", "--sort=name", "bc", "zstd"}, makes: []string{"doc.tar"}},
	{name: "file", argv: []string{"file", "-b", "/bin/ls"}},
	{name: "ld.so as a program", argv: []string{"/lib64/ld-linux-x86-64.so.2", "/bin/echo", "through", "ld.so"}},
	{name: "missing library", argv: []string{"/lib64/ld-linux-x86-64.so.2", "/nowhere"}},
}

// TestPrograms runs programs of the distribution, as installed.
func TestPrograms(t *testing.T) {
	data := textFile(t)
	for _, p := range programs {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			native, nativeDir := p.prepare(t, data)
			under, underDir := p.prepare(t, data)
			wantEqual(t, native.native(t), under.underKmdev(t))
			for _, f := range p.makes {
				a, err := os.ReadFile(filepath.Join(nativeDir, f))
				if err != nil {
					t.Fatal(err)
				}
				if b, err := os.ReadFile(filepath.Join(underDir, f)); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: %d bytes natively, %d under kmdev (%v), or other contents", f, len(a), len(b), err)
				}
			}
		})
	}
}

// prepare resolves the program and gives it a directory of its own. All
// directories have names of one length, so messages that hold them compare.
func (p program) prepare(t *testing.T, data string) (command, string) {
	t.Helper()
	path, err := exec.LookPath(p.argv[0])
	if err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	dir := t.TempDir()
	replace := strings.NewReplacer("$DATA", data, "$DIR", dir)
	argv := []string{path}
	for _, a := range p.argv[1:] {
		argv = append(argv, replace.Replace(a))
	}
	return command{argv: argv, stdin: p.stdin, dir: dir}, dir
}

// textFile writes 3 MB of text that is the same in every run, plain and as .zst.
func textFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	words := []string{"abcd", "monitor", "payload", "of", "the", "vCPU", "hypercall", "cd", "ab", "register", "1234", "x"}
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < 3<<20 {
		for range r.IntN(12) + 1 {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d\n", r.Uint32())
	}
	path := filepath.Join(t.TempDir(), "data.txt")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("zstd", "-q", path, "-o", path+".zst").CombinedOutput(); err != nil {
		t.Fatalf("zstd: %v\n%s", err, out)
	}
	return path
}

func jsonData() string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range 3000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id": %d, "name": "entry %d", "tags": %s}`, i, i, [...]string{"[]", `["a"]`, `["a", "b"]`}[i%3])
	}
	b.WriteByte(']')
	return b.String()
}

// TestGzipRoundTrip feeds what a program made under kmdev to another implementation.
func TestGzipRoundTrip(t *testing.T) {
	data := textFile(t)
	got := command{argv: []string{mustLook(t, "gzip"), "-c", data}}.underKmdev(t)
	r, err := gzip.NewReader(strings.NewReader(got.Stdout))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plain.Bytes(), want) {
		t.Errorf("unpacks to %d bytes, not to the %d packed", plain.Len(), len(want))
	}
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	return path
}
