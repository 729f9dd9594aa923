package hostcall

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	roles["nothing"] = func() {}
	roles["init"] = mustInit
	roles["plain and nothing"] = func() { must(Plain()) }
}

// BenchmarkStart is a process from start to end: without this package's doings, by the entry, without the entry in the
// file, and as an ordinary process in spite of the entry.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct{ name, exe, role string }{
		{"empty", withoutEntry(b), "nothing"},
		{"entry", withEntry(b), "nothing"},
		{"entry and Init", withEntry(b), "init"},
		{"again", withoutEntry(b), "init"},
		{"plain", withEntry(b), "plain and nothing"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := command(b, c.exe, c.role, nil).Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	block, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer block.Free()
	b.Run("Raw", func(b *testing.B) {
		for b.Loop() {
			Raw(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
		}
	})
	b.Run("syscall.Syscall", func(b *testing.B) {
		for b.Loop() {
			syscall.Syscall(unix.SYS_GETPID, 0, 0, 0)
		}
	})
	b.Run("Call", func(b *testing.B) {
		for b.Loop() {
			block.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
		}
	})
	b.Run("Call with a signal", func(b *testing.B) {
		tid := unix.Gettid()
		for b.Loop() {
			Kick(tid)
			block.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
			block.Signal()
		}
	})
	b.Run("Dequeue of nothing", func(b *testing.B) {
		for b.Loop() {
			Dequeue(^uint64(0))
		}
	})
}

func BenchmarkAccess(b *testing.B) {
	_, addr := pages(b, 2)
	for _, n := range []int{8, 144, 4096} {
		buf := make([]byte, n)
		b.Run(fmt.Sprint("CopyIn ", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				CopyIn(buf, addr)
			}
		})
		b.Run(fmt.Sprint("process_vm_readv ", n), func(b *testing.B) { // what a copy without a handler would cost
			b.SetBytes(int64(n))
			local := []unix.Iovec{{Base: &buf[0], Len: uint64(n)}}
			remote := []unix.RemoteIovec{{Base: addr, Len: n}}
			for b.Loop() {
				unix.ProcessVMReadv(os.Getpid(), local, remote, 0)
			}
		})
	}
	b.Run("fault", func(b *testing.B) {
		var buf [8]byte
		for b.Loop() {
			CopyIn(buf[:], addr+2*pageSize)
		}
	})
	b.Run("CompareAndSwap32", func(b *testing.B) {
		for b.Loop() {
			CompareAndSwap32(addr, 0, 0)
		}
	})
}
