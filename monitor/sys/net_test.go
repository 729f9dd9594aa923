package sys

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// socketPair returns a connected pair of the payload's.
func socketPair(t *testing.T, k *faketask.Task, typ int) (a, b int) {
	t.Helper()
	p := k.Map(1)
	want(t, "socketpair", k.Do(unix.SYS_SOCKETPAIR, unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0, p), 0)
	return k.FD(uint64(le32(k.Read(p, 4)))), k.FD(uint64(le32(k.Read(p+4, 4))))
}

// msghdr builds a struct msghdr.
func msghdr(name gva, namelen int, iov gva, iovlen int, control gva, controllen int) []byte {
	b := make([]byte, sizeMsghdr)
	put64(b[msgName:], uint64(name))
	put32(b[msgNamelen:], uint32(namelen))
	put64(b[msgIov:], uint64(iov))
	put64(b[msgIovlen:], uint64(iovlen))
	put64(b[msgControl:], uint64(control))
	put64(b[msgControllen:], uint64(controllen))
	return b
}

func iovec(k *faketask.Task, pairs ...uint64) gva {
	b := make([]byte, 8*len(pairs))
	for i, v := range pairs {
		put64(b[8*i:], v)
	}
	return k.Put(b)
}

func TestMessages(t *testing.T) {
	k := newTask(t)
	a, b := socketPair(t, k, unix.SOCK_SEQPACKET)
	text := k.Put([]byte("hello, world"))
	out := k.Put(msghdr(0, 0, iovec(k, uint64(text), 5, uint64(text)+5, 7), 2, 0, 0))
	want(t, "sendmsg", k.Do(unix.SYS_SENDMSG, a, out, 0), 12)
	buf := k.Map(1)
	in := k.Put(msghdr(0, 0, iovec(k, uint64(buf), 3, uint64(buf)+100, 50), 2, buf+200, 100))
	want(t, "recvmsg", k.Do(unix.SYS_RECVMSG, b, in, 0), 12)
	if string(k.Read(buf, 3))+string(k.Read(buf+100, 9)) != "hello, world" {
		t.Errorf("received %q", k.Read(buf, 120))
	}
	h := k.Read(in, sizeMsghdr)
	if le64(h[msgControllen:]) != 0 || le32(h[msgFlags:]) != 0 {
		t.Errorf("control %d, flags %#x", le64(h[msgControllen:]), le32(h[msgFlags:]))
	}
	for name, m := range map[string][]byte{
		"too many vectors": msghdr(0, 0, text, 2000, 0, 0),
		"bad vectors":      msghdr(0, 0, text+page, 1, 0, 0),
		"bad control":      msghdr(0, 0, iovec(k, uint64(text), 5), 1, text+page, 16),
		"huge control":     msghdr(0, 0, iovec(k, uint64(text), 5), 1, text, 1<<30),
		"bad name":         msghdr(text+page, 16, iovec(k, uint64(text), 5), 1, 0, 0),
	} {
		p := k.Put(m)
		got := k.Do(unix.SYS_SENDMSG, a, p, 0)
		native := append([]byte{}, m...)
		for _, at := range []int{msgName, msgIov, msgControl} {
			if v := le64(native[at:]); v != 0 {
				put64(native[at:], v+usermem.Window)
			}
		}
		if iov := le64(m[msgIov:]); le64(m[msgIovlen:]) == 1 && iov < uint64(text+page) || name == "bad control" || name == "huge control" || name == "bad name" {
			v := k.Read(gva(le64(m[msgIov:])), 16)
			put64(v, le64(v)+usermem.Window)
			put64(native[msgIov:], uint64(k.Put(v))+usermem.Window)
		}
		want(t, name, got, k.Native(unix.SYS_SENDMSG, a, k.Put(native), 0))
	}
	same(t, k, unix.SYS_SENDMSG, a, gva(0), 0)
	same(t, k, unix.SYS_SENDMSG, -1, gva(0), 0)
	same(t, k, unix.SYS_RECVMSG, b, text+page, unix.MSG_DONTWAIT)
	wantErr(t, "recvmsg of nothing", k.Do(unix.SYS_RECVMSG, b, in, unix.MSG_DONTWAIT), unix.EAGAIN)
}

// rights builds a control message with descriptors.
func rights(fds ...int) []byte {
	return unix.UnixRights(fds...)
}

func TestDescriptorsInMessages(t *testing.T) {
	k := newTask(t)
	a, b := socketPair(t, k, unix.SOCK_STREAM)
	mine := k.FD(k.Do(unix.SYS_OPEN, k.Str(tempFile(t, "mine")), 0, 0))
	own := secret(t, k)
	text := k.Put([]byte("x"))
	send := func(control []byte) uint64 {
		return k.Do(unix.SYS_SENDMSG, a, k.Put(msghdr(0, 0, iovec(k, uint64(text), 1), 1, k.Put(control), len(control))), 0)
	}
	wantErr(t, "the monitor's descriptor", send(rights(own)), unix.EBADF)
	wantErr(t, "mine and the monitor's", send(rights(mine, own)), unix.EBADF)
	wantErr(t, "in a second message", send(append(rights(mine), rights(own)...)), unix.EBADF)
	want(t, "mine", send(rights(mine)), 1)
	buf := k.Map(1)
	in := k.Put(msghdr(0, 0, iovec(k, uint64(buf), 10), 1, buf+512, 64))
	want(t, "recvmsg", k.Do(unix.SYS_RECVMSG, b, in, unix.MSG_CMSG_CLOEXEC), 1)
	n := int(le64(k.Read(in+msgControllen, 8)))
	c, err := unix.ParseSocketControlMessage(k.Read(buf+512, n))
	if err != nil || len(c) != 1 {
		t.Fatal(err, len(c))
	}
	fds, err := unix.ParseUnixRights(&c[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(err, fds)
	}
	if text := readFD(t, k.FD(uint64(fds[0]))); text != "mine" {
		t.Errorf("received a file with %q", text)
	}
}

func TestManyMessages(t *testing.T) {
	k := newTask(t)
	a, b := socketPair(t, k, unix.SOCK_DGRAM)
	text := k.Put([]byte("one two three "))
	vec := make([]byte, 0, 3*sizeMmsghdr)
	for i, w := range []struct{ at, n uint64 }{{0, 4}, {4, 4}, {8, 6}} {
		vec = append(vec, msghdr(0, 0, iovec(k, uint64(text)+w.at, w.n), 1, 0, 0)...)
		vec = append(vec, byte(0x80+i), 0, 0, 0, 0, 0, 0, 0)
	}
	out := k.Put(vec)
	want(t, "sendmmsg", k.Do(unix.SYS_SENDMMSG, a, out, 3, 0), 3)
	if n := le32(k.Read(out+2*sizeMmsghdr+mmsgLen, 4)); n != 6 {
		t.Errorf("third message of %d bytes", n)
	}
	buf := k.Map(1)
	vec = vec[:0]
	for i := range 4 {
		vec = append(vec, msghdr(0, 0, iovec(k, uint64(buf)+uint64(100*i), 100), 1, 0, 0)...)
		vec = append(vec, make([]byte, 8)...)
	}
	in := k.Put(vec)
	ts := k.Put([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	want(t, "recvmmsg", k.Do(unix.SYS_RECVMMSG, b, in, 4, unix.MSG_DONTWAIT, ts), 3)
	if !bytes.HasPrefix(k.Read(buf+200, 6), []byte("three ")) || le32(k.Read(in+mmsgLen, 4)) != 4 {
		t.Errorf("third %q, first of %d bytes", k.Read(buf+200, 6), le32(k.Read(in+mmsgLen, 4)))
	}
	if left := le64(k.Read(ts, 8)); left > 9 {
		t.Errorf("%d seconds left of 9", left)
	}
	// The second one can't be read: the first is sent all the same.
	half := k.Map(1) + page - sizeMmsghdr
	k.Write(half, k.Read(out, sizeMmsghdr))
	want(t, "sendmmsg at the end of a page", k.Do(unix.SYS_SENDMMSG, a, half, 2, 0), 1)
	wantErr(t, "sendmmsg from a hole", k.Do(unix.SYS_SENDMMSG, a, half+sizeMmsghdr, 2, 0), unix.EFAULT)
	want(t, "sendmmsg of none", k.Do(unix.SYS_SENDMMSG, a, half+sizeMmsghdr, 0, 0), 0)
	wantErr(t, "recvmmsg into a hole", k.Do(unix.SYS_RECVMMSG, b, half+sizeMmsghdr, 2, unix.MSG_DONTWAIT, 0), unix.EFAULT)
}

func TestAddresses(t *testing.T) {
	k := newTask(t)
	s := k.FD(k.Do(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	addr := k.Put([]byte{unix.AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	want(t, "bind", k.Do(unix.SYS_BIND, s, addr, 16), 0)
	want(t, "listen", k.Do(unix.SYS_LISTEN, s, 5), 0)
	buf := k.Put([]byte{16, 0, 0, 0})
	want(t, "getsockname", k.Do(unix.SYS_GETSOCKNAME, s, addr, buf), 0)
	c := k.FD(k.Do(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	want(t, "connect", k.Do(unix.SYS_CONNECT, c, addr, 16), 0)
	peer := k.Map(1)
	k.Write(peer, []byte{128, 0, 0, 0})
	k.FD(k.Do(unix.SYS_ACCEPT4, s, peer+16, peer, unix.SOCK_CLOEXEC))
	if n := le32(k.Read(peer, 4)); n != 16 || k.Read(peer+16, 1)[0] != unix.AF_INET {
		t.Errorf("accept4: address of %d bytes, family %d", n, k.Read(peer+16, 1)[0])
	}
	for _, args := range [][]any{
		{s, addr + page, 16}, {s, addr, 1}, {s, addr, -1}, {s, addr, 1000}, {s, gva(0), 16},
	} {
		same(t, k, unix.SYS_BIND, args...)
	}
	same(t, k, unix.SYS_GETPEERNAME, s, addr, buf)
	same(t, k, unix.SYS_GETSOCKNAME, c, addr+page, buf)
	same(t, k, unix.SYS_GETSOCKNAME, c, addr, buf+page)

	one := k.Put([]byte{1, 0, 0, 0})
	want(t, "setsockopt", k.Do(unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE, one, 4), 0)
	k.Write(peer, []byte{4, 0, 0, 0, 0, 0, 0, 0})
	want(t, "getsockopt", k.Do(unix.SYS_GETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE, peer+4, peer), 0)
	if k.Read(peer+4, 1)[0] != 1 {
		t.Error("SO_KEEPALIVE is not set")
	}
	same(t, k, unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE, one+page, 4)
	same(t, k, unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, 9999, one, 4)
	wantErr(t, "iptables", k.Do(unix.SYS_SETSOCKOPT, c, unix.SOL_IP, 64, one, 4), unix.ENOPROTOOPT)

	// A filter that lets everything through, and one at an address of the host's.
	insn := k.Put([]byte{0x06, 0, 0, 0, 0xff, 0xff, 0, 0})
	prog := make([]byte, 16)
	prog[0] = 1
	put64(prog[8:], uint64(insn))
	want(t, "SO_ATTACH_FILTER", k.Do(unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, k.Put(prog), 16), 0)
	put64(prog[8:], uint64(insn)+usermem.Window)
	wantErr(t, "SO_ATTACH_FILTER at a host address", k.Do(unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, k.Put(prog), 16), unix.EFAULT)
	if hypercall.Errno(k.Do(unix.SYS_SETSOCKOPT, c, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, k.Put(prog), 8)) != unix.EINVAL {
		t.Error("SO_ATTACH_FILTER of 8 bytes")
	}
}
