package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// userRights is how postgres, which refuses root, comes to run as an ordinary user.
type userRights int

const (
	asUser     userRights = iota // kmdev itself is started by that user
	dropRights                   // the payload starts as root and executes postgres as that user
)

const postgresBin = "/usr/lib/postgresql/15/bin/"

const postgresQueries = `
create table t(id serial primary key, name text, value numeric);
insert into t(name, value) select 'name ' || i, i * 0.5 from generate_series(1, 5000) i;
create index on t(name); analyze t;
select count(*), sum(value), max(name) from t;
begin; delete from t where id % 3 = 0; savepoint a; delete from t; rollback to a; commit;
select count(*) from t;
set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
select sum(value * 2) from t where name like '%7%';
create function f(n int) returns int language plpgsql as $$ begin if n < 2 then return n; end if; return f(n-1) + f(n-2); end $$;
select f(15); select 1/0; vacuum full t; checkpoint;
copy (select * from t order by id limit 3) to program 'cat > copied';
select string_agg(md5(name), '' order by id) = '' from t;
`

func drivePostgres(how userRights) driver {
	return func(t *testing.T, s *session) result {
		p := newPostgres(t, s, how)
		var transcript strings.Builder
		note := func(r result) { fmt.Fprintf(&transcript, "%s%s%s\n", r.Stdout, r.Stderr, r.Status) }
		note(p.command("initdb", "-D", "$DIR/db", "--no-locale", "-E", "UTF8", "-A", "trust", "--no-sync", "-U", "postgres").run(t))
		server := serve(t, p.command("postgres", "-D", "$DIR/db", "-k", "$DIR", "-h", "", "-c", "shared_buffers=16MB", "-c", "fsync=off"),
			"database system is ready to accept connections", 1)
		client := func(input string, argv ...string) result {
			c := s.nativeCommand(append([]string{postgresBin + argv[0], "-h", "$DIR", "-U", "postgres"}, argv[1:]...)...)
			c.stdin = input
			return c.run(t)
		}
		note(client(postgresQueries, "psql", "-qAtX"))
		for _, args := range []string{"-i -q -s 1", "-n -c 4 -t 25"} { // what pgbench prints is times
			note(result{Status: client("", append([]string{"pgbench"}, strings.Fields(args+" postgres")...)...).Status})
		}
		note(client("select sum(delta) = (select sum(abalance) from pgbench_accounts), count(*) from pgbench_history;", "psql", "-qAtX"))
		fmt.Fprintln(&transcript, readAll(t, filepath.Join(s.dir, "db", "copied")))
		return result{Stdout: transcript.String(), Status: server.end(syscall.SIGTERM)}
	}
}

// postgres knows how to start the programs of one cluster.
type postgres struct {
	s      *session
	prefix []string // what makes it run as the other user
	outer  bool     // prefix comes before kmdev run
	flags  []string
	binary string
}

func newPostgres(t *testing.T, s *session, how userRights) *postgres {
	t.Helper()
	p := &postgres{s: s, outer: how == asUser, binary: kmdev}
	if os.Getuid() != 0 {
		return p // an ordinary user already
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("%v: make setup", err)
	}
	uid, gid := atoi(t, u.Uid), atoi(t, u.Gid)
	p.prefix = []string{mustLook(t, "setpriv"), "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups"}
	if err := os.Chown(s.dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(s.dir, "tmp"), uid, gid); err != nil {
		t.Fatal(err)
	}
	if p.outer && s.w != nil {
		p.lendKVM(t, uid, gid)
	}
	return p
}

// lendKVM gives the user a KVM device and a kmdev of its own: it may read neither /dev/kvm nor where the build put kmdev.
func (p *postgres) lendKVM(t *testing.T, uid, gid int) {
	t.Helper()
	var st unix.Stat_t
	device := filepath.Join(p.s.dir, "kvm")
	err := unix.Stat("/dev/kvm", &st)
	if err == nil {
		err = unix.Mknod(device, unix.S_IFCHR|0o600, int(st.Rdev))
	}
	if err == nil {
		err = os.Chown(device, uid, gid)
	}
	if err != nil {
		t.Fatalf("a KVM device for another user: %v", err)
	}
	binary, err := os.ReadFile(kmdev)
	if err != nil {
		t.Fatal(err)
	}
	p.binary = filepath.Join(p.s.dir, "kmdev")
	if err := os.WriteFile(p.binary, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	p.flags = []string{"--virt-device", device}
}

// command is a program of postgres's, as that user, natively or under kmdev.
func (p *postgres) command(program string, args ...string) command {
	c := p.s.nativeCommand(append([]string{postgresBin + program}, args...)...)
	if p.s.w == nil {
		c.argv = slices.Concat(p.prefix, c.argv)
		return c
	}
	run := slices.Concat([]string{p.binary, "run"}, p.flags, []string{"--"})
	if p.outer {
		c.argv = slices.Concat(p.prefix, run, c.argv)
	} else {
		c.argv = slices.Concat(run, p.prefix, c.argv)
	}
	return c
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
