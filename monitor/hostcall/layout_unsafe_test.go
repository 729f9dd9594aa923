package hostcall

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Between the addresses by which the handler goes lies the code of this package's assembly files, and nothing else.
func TestLayout(t *testing.T) {
	if err := checkLayout(); err != nil {
		t.Fatal(err)
	}
	enter, _, _, _, restore := stubAddresses()
	for _, r := range []struct {
		from, to uintptr
		names    string
	}{
		{enter, restore, "enter window issue finish restore"},
		{accessAt.copyBytes, accessAt.ops[0] - 1, "copyBytes copyTail copyDone perform"},
	} {
		seen := ""
		for pc := r.from; pc <= r.to; pc++ {
			name := runtime.FuncForPC(pc).Name()
			name = name[strings.LastIndex(name, ".")+1:]
			if !strings.HasSuffix(seen, name) {
				seen += " " + name
			}
		}
		if strings.TrimSpace(seen) != r.names {
			t.Errorf("%s, want %s", seen, r.names)
		}
	}
	for i, op := range accessAt.ops {
		if op == 0 || runtime.FuncForPC(op).Entry() != op {
			t.Errorf("operation %d at %#x", i, op)
		}
	}
}

// A reordered program is refused.
func TestWrongLayout(t *testing.T) {
	good := accessAt
	defer func() { accessAt = good }()
	accessAt.copyTail = good.copyDone + 1
	if checkLayout() == nil {
		t.Error("order")
	}
	accessAt = good
	accessAt.ops[0] += 1 << 20
	if checkLayout() == nil {
		t.Error("distance")
	}
}

// A table that is not exactly the one known is left alone. (Here it has been patched: so it is another.)
func TestUnknownSigtable(t *testing.T) {
	sigtablePatched = 0
	defer func() { sigtablePatched = 1 }()
	patchSigtable()
	if sigtablePatched != 0 {
		t.Error("patched twice")
	}
}

func TestBlockLayout(t *testing.T) {
	var b Block
	if size := unsafe.Sizeof(b); size != 256 || unsafe.Offsetof(b.info)%64 != 0 {
		t.Errorf("a block has %d bytes, siginfo at %d", size, unsafe.Offsetof(b.info))
	}
	var u ucontext
	if unsafe.Offsetof(u.rip) != 168 || unsafe.Offsetof(u.sigmask) != 296 {
		t.Errorf("ucontext: rip at %d, mask at %d", unsafe.Offsetof(u.rip), unsafe.Offsetof(u.sigmask))
	}
}

// Blocks are used again, and a thread has one.
func TestBlocks(t *testing.T) {
	var tids []int
	before := arena.used
	for range 100 {
		done := make(chan int)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b, err := New()
			if err != nil {
				t.Error(err)
			}
			tid := unix.Gettid()
			if findBlock(int32(tid)) != b {
				t.Error("another block")
			}
			b.Free()
			if findBlock(int32(tid)) != nil {
				t.Error("still there")
			}
			done <- tid
		}()
		tids = append(tids, <-done)
	}
	if used := arena.used - before; used > 1 {
		t.Errorf("%d blocks for %d threads, one after the other", used, len(tids))
	}
}

func TestWrap(t *testing.T) {
	for _, code := range []int32{0, 1, 5, 0x80, siTkill, siQueue, -2, -60} {
		info := queued(int(unix.SIGSEGV), 1<<63|5)
		head(info).code = code
		was := *info
		wrap(info)
		if c := sicode(info); c >= 0 || c == siTkill {
			t.Errorf("si_code %d becomes %d", code, c)
		}
		unwrap(info)
		if *info != was {
			t.Errorf("si_code %d: %s", code, describe(info))
		}
	}
	forged := queued(int(unix.SIGSEGV), 1)
	head(forged).code = wrappedTkill
	head(forged).pad = wrapCookie ^ 2
	was := *forged
	unwrap(forged)
	if *forged != was {
		t.Error("a forged cookie is taken")
	}
}

func TestIsKick(t *testing.T) {
	b := payload(t)
	own := queued(int(unix.SIGSTKFLT), kickCookie^1)
	if IsKick(own) {
		t.Error("the payload's own SIGSTKFLT is a kick")
	}
	send(os.Getpid(), unix.Gettid(), int(unix.SIGSTKFLT), kickCookie^1)
	b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	if info, ok := b.Signal(); !ok || IsKick(&info) {
		t.Errorf("%v %s", ok, describe(&info))
	}
	Kick(unix.Gettid())
	if info, ok := Dequeue(^uint64(0)); !ok || !IsKick(&info) {
		t.Errorf("%v %s", ok, describe(&info))
	}
	if info := queued(int(unix.SIGUSR1), kickCookie); IsKick(info) {
		t.Error("a SIGUSR1")
	}
	Kick(1 << 30) // nobody
}

// With no room in the queue for siginfo, a kick is a kick nevertheless.
func TestKickWithoutSiginfo(t *testing.T) {
	b := payload(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_SIGPENDING, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(0, unix.RLIMIT_SIGPENDING, &unix.Rlimit{Cur: 0, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	defer unix.Prlimit(0, unix.RLIMIT_SIGPENDING, &old, nil)
	Kick(unix.Gettid())
	r := b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	info, ok := b.Signal()
	if num(r) != -513 || !ok || !IsKick(&info) {
		t.Errorf("%d %v %s", num(r), ok, describe(&info))
	}
	if hasCookie(&info) {
		t.Error("the limit had no effect: nothing was tested")
	}
}
