package hostcall

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SIGSEGV and SIGBUS that somebody sends are the payload's like any other signal.

func faultSignals() []unix.Signal { return []unix.Signal{unix.SIGSEGV, unix.SIGBUS} }

// raise(SIGSEGV) with SIGSEGV blocked by the payload: it stays pending while the thread goes on, copies included.
func TestRaisedFaultWaits(t *testing.T) {
	b := payload(t)
	_, addr := pages(t, 1)
	for _, sig := range faultSignals() {
		if r := Raw(unix.SYS_TGKILL, getpid(), gettid(), uintptr(sig), 0, 0, 0); r != 0 {
			t.Fatal(num(r))
		}
		if b.closed == 0 || atomic.LoadUint32(&closedThreads) != 1 {
			t.Fatal("not noted")
		}
		var buf [100]byte
		if n := CopyIn(buf[:], addr+pageSize-10); n != 10 {
			t.Errorf("copied %d, want 10", n)
		}
		if n := CopyOut(addr+pageSize-10, buf[:]); n != 10 {
			t.Errorf("copied %d, want 10", n)
		}
		for name, ok := range words(addr + pageSize) {
			if ok {
				t.Errorf("%s succeeds", name)
			}
		}
		for name, ok := range words(addr) {
			if !ok {
				t.Errorf("%s fails", name)
			}
		}
		if r := b.Call(quiet|bit(sig), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != os.Getpid() {
			t.Errorf("call: %d", num(r))
		}
		var pending uint64
		Raw(unix.SYS_RT_SIGPENDING, address(&pending), 8, 0, 0, 0, 0)
		if pending&bit(sig) == 0 {
			t.Errorf("sigpending: %x", pending)
		}
		info, ok := Dequeue(bit(sig))
		if h := head(&info); !ok || int(h.signo) != int(sig) || h.code != siTkill || h.pid != int32(os.Getpid()) || h.pad != 0 {
			t.Errorf("%v %s", ok, describe(&info))
		}
		if b.closed != 0 || atomic.LoadUint32(&closedThreads) != 0 {
			t.Error("still closed")
		}
		if n := CopyIn(buf[:], addr+pageSize-10); n != 10 {
			t.Errorf("copied %d, want 10", n)
		}
	}
}

// Both at once, and a call that lets them through.
func TestRaisedFaultsTaken(t *testing.T) {
	b := payload(t)
	for _, sig := range faultSignals() {
		send(os.Getpid(), unix.Gettid(), int(sig), uint64(sig))
	}
	got := map[int]uint64{}
	for range 2 {
		if r := b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != -513 {
			t.Fatal(num(r))
		}
		info, ok := b.Signal()
		if !ok {
			t.Fatal("no signal")
		}
		got[signo(&info)] = head(&info).value
	}
	if got[int(unix.SIGSEGV)] != uint64(unix.SIGSEGV) || got[int(unix.SIGBUS)] != uint64(unix.SIGBUS) {
		t.Error(got)
	}
	if b.closed != 0 || atomic.LoadUint32(&closedThreads) != 0 {
		t.Error("still closed")
	}
}

// kill(pid, SIGSEGV) from another process, whichever thread the kernel gives it to.
func TestSentFault(t *testing.T) {
	notUnderRace(t)
	for _, sig := range faultSignals() {
		for _, open := range []bool{true, false} {
			t.Run(fmt.Sprint(sig, open), func(t *testing.T) {
				mask := quiet
				if !open {
					mask |= bit(sig)
				}
				payload(t).SetBlocked(bit(sig)) // another one, which the signal is not for
				r, w := pipe(t)
				var c byte
				s := sleepIn(t, unix.SYS_READ, func(b *Block) uintptr {
					SetMainThread(unix.Gettid())
					b.SetBlocked(mask)
					return b.Call(mask, unix.SYS_READ, uintptr(r), address(&c), 1, 0, 0, 0)
				}, func(b *Block) uintptr {
					info, ok := Dequeue(bit(sig))
					if ok == open || !open && (signo(&info) != int(sig) || sicode(&info) != 0) {
						t.Errorf("left over: %v %s", ok, describe(&info))
					}
					return 0
				})
				defer SetMainThread(os.Getpid())
				kill := exec.Command("sh", "-c", "kill -"+strconv.Itoa(int(sig))+" "+strconv.Itoa(os.Getpid()))
				if out, err := kill.CombinedOutput(); err != nil {
					t.Fatal(err, string(out))
				}
				if !open { // it must have arrived when kill has: some thread of ours has it open
					waitPending(t, s.tid, sig)
					unix.Write(w, []byte{1})
				}
				got := s.wait()
				if open {
					h := head(&got.info)
					if got.result != -512 || !got.taken || int(h.signo) != int(sig) || h.code != 0 || h.pid != int32(kill.Process.Pid) || h.pad != 0 {
						t.Errorf("%d %v %s", got.result, got.taken, describe(&got.info))
					}
				} else if got.result != 1 || got.taken {
					t.Errorf("%d %v %s", got.result, got.taken, describe(&got.info))
				}
			})
		}
	}
}

// waitPending returns when a signal is pending for a thread of ours.
func waitPending(t *testing.T, tid int, sig unix.Signal) {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
		if err != nil {
			t.Fatal(err)
		}
		if set, _ := strconv.ParseUint(statusField(string(text), "SigPnd"), 16, 64); set&bit(sig) != 0 {
			return
		}
		runtime.Gosched()
	}
}

// A siginfo that the payload makes up for itself, with the si_code of a real fault, is no fault of the monitor.
func TestFalseFault(t *testing.T) {
	b := payload(t)
	for _, sig := range faultSignals() {
		for _, code := range []int32{1, 2, 0x80, 0, siTkill, siQueue, -60} {
			info := queued(int(sig), 0xabcdef)
			head(info).code = code
			head(info).pad = wrapCookie // nobody should see what we do with it
			if r := Queue(unix.Gettid(), int(sig), info); r != 0 {
				t.Fatalf("queue: %d", num(r))
			}
			got, ok := Dequeue(bit(sig))
			head(info).pad = 0
			if !ok || got != *info {
				t.Errorf("%v %s, want %s", ok, describe(&got), describe(info))
			}
		}
		// The kernel's rules hold: nobody makes up faults for another thread.
		info := queued(int(sig), 1)
		head(info).code = 1
		other := make(chan int)
		quit := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			other <- unix.Gettid()
			<-quit
		}()
		if r := Queue(<-other, int(sig), info); r != eperm {
			t.Errorf("queue to another thread: %d", num(r))
		}
		close(quit)
	}
	info := queued(int(unix.SIGUSR1), 3)
	if r := Queue(0, int(unix.SIGUSR1), info); r != 0 {
		t.Errorf("queue to the process: %d", num(r))
	}
	if got, ok := Dequeue(bit(unix.SIGUSR1)); !ok || got != *info {
		t.Errorf("%v %s", ok, describe(&got))
	}
	if b.Taken() {
		t.Error("taken")
	}
}

// A thread ends with a SIGSEGV pending: the others are not slowed down for ever, and its block can be used again.
func TestEndWithFaultPending(t *testing.T) {
	for range 10 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			b, err := New()
			if err != nil {
				t.Error(err)
			}
			Raw(unix.SYS_TGKILL, getpid(), gettid(), uintptr(unix.SIGSEGV), 0, 0, 0)
			b.Free()
			runtime.UnlockOSThread()
		}()
		<-done
		if n := atomic.LoadUint32(&closedThreads); n != 0 {
			t.Fatalf("%d threads closed", n)
		}
	}
}

// A thread ends with a SIGSEGV pending that was sent to the process: another thread gets it.
func TestEndPassesFaultOn(t *testing.T) {
	notUnderRace(t)
	b := payload(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		b, err := New()
		if err != nil {
			t.Error(err)
		}
		send(os.Getpid(), unix.Gettid(), int(unix.SIGSEGV), 5)
		b.Free()
	}()
	<-done
	r := num(b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0))
	info, ok := b.Signal()
	if r != -513 || !ok || signo(&info) != int(unix.SIGSEGV) || head(&info).value != 5 {
		t.Errorf("%d %v %s", r, ok, describe(&info))
	}
}

// Processes send SIGSEGV and SIGBUS, to the process and to its threads, as fast as they can, while threads fault all
// the time in copies and sleep in calls.
func TestFaultHail(t *testing.T) {
	notUnderRace(t)
	stop := collectAlways()
	_, addr := pages(t, 1)
	const workers = 4
	var quit atomic.Bool
	tids, done := make(chan int), make(chan error)
	var taken atomic.Int64
	for i := range workers {
		go func() {
			runtime.LockOSThread()
			b, err := New()
			if err != nil {
				panic(err)
			}
			defer b.Free()
			tids <- unix.Gettid()
			done <- faultWorker(b, addr, i, &quit, &taken)
		}()
	}
	h := hail{Pid: os.Getpid()}
	for range workers {
		h.Tids = append(h.Tids, <-tids)
	}
	SetMainThread(h.Tids[0])
	defer SetMainThread(os.Getpid())
	sender := command(t, withEntry(t), "fault hail", h)
	if err := sender.Run(); err != nil {
		t.Error(err)
	}
	quit.Store(true)
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if taken.Load() == 0 {
		t.Error("no signal arrived")
	}
	t.Logf("%d collections, %d signals", stop(), taken.Load())
	for atomic.LoadUint32(&closedThreads) != 0 {
		t.Fatalf("%d threads closed", closedThreads)
	}
}

func faultWorker(b *Block, addr uintptr, i int, quit *atomic.Bool, taken *atomic.Int64) error {
	var buf [300]byte
	word := addr + uintptr(8*i)
	for n := uint32(1); !quit.Load(); n++ {
		if got := CopyIn(buf[:], addr+pageSize-11); got != 11 {
			return fmt.Errorf("copied %d", got)
		}
		if _, ok := Swap32(addr+pageSize, 1); ok {
			return fmt.Errorf("swapped")
		}
		old, ok := Swap32(word, n)
		if !ok || old != n-1 {
			return fmt.Errorf("swap: %d, want %d", old, n-1)
		}
		r := num(b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0))
		info, ok := b.Signal()
		if r != os.Getpid() && (r != -513 || !ok) {
			return fmt.Errorf("call: %d, %v", r, ok)
		}
		if !ok {
			info, ok = Dequeue(faultBits)
		}
		if ok {
			taken.Add(1)
			if h := head(&info); h.pad != 0 || h.code > 0 || h.code < siTkill {
				return fmt.Errorf("signal %s", describe(&info))
			}
		}
	}
	for { // what is pending
		if _, ok := Dequeue(faultBits); !ok {
			return nil
		}
	}
}

func init() {
	roles["fault hail"] = func() {
		var h hail
		params(&h)
		for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
			for i, sig := range faultSignals() {
				unix.Kill(h.Pid, sig)
				unix.Tgkill(h.Pid, h.Tids[i], sig)
				send(h.Pid, h.Tids[2+i], int(sig), 5)
			}
		}
	}
}
