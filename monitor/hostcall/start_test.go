package hostcall

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if err := Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestSmoke(t *testing.T) {
	runtime.LockOSThread()
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	if r := b.Call(0, 39, 0, 0, 0, 0, 0, 0); r != uintptr(os.Getpid()) {
		t.Fatal(int(r))
	}
	Kick(int(gettid()))
	if r := b.Call(0, 39, 0, 0, 0, 0, 0, 0); int(r) != -513 {
		t.Fatal(int(r))
	}
	info, ok := b.Signal()
	if !ok || !IsKick(&info) {
		t.Fatal(ok, info)
	}
	buf := make([]byte, 10)
	if n := CopyIn(buf, 0x1000); n != 0 {
		t.Fatal(n)
	}
	if _, ok := Load32(0x1000); ok {
		t.Fatal()
	}
	fmt.Println(len(Environ()), Args())
}
