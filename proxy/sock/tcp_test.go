package sock

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// hasIPv6 reports whether the loopback interface has ::1.
func hasIPv6() bool {
	text, err := os.ReadFile("/proc/net/if_inet6")
	return err == nil && strings.Contains(string(text), "00000000000000000000000000000001 ")
}

func TestSockaddr(t *testing.T) {
	for _, text := range []string{"192.0.2.1:80", "[2001:db8::1]:65535", "[::1]:1", "0.0.0.0:0"} {
		ap := netip.MustParseAddrPort(text)
		a := AddrFrom(ap)
		var raw sockaddr
		size := a.encode(&raw)
		if got := decode(&raw).AddrPort(); got != ap {
			t.Errorf("%s became %s", ap, got)
		}
		if wantSize := map[bool]uint32{true: unix.SizeofSockaddrInet4, false: unix.SizeofSockaddrInet6}; size !=
			wantSize[ap.Addr().Is4()] {
			t.Errorf("%s: length %d", ap, size)
		}
	}
}

// A link-local address keeps its zone, without which it cannot be connected to.
func TestSockaddrZone(t *testing.T) {
	raw := sockaddr{Family: unix.AF_INET6, Addr: netip.MustParseAddr("fe80::1").As16(), Scope_id: 7}
	a := decode(&raw)
	var back sockaddr
	a.encode(&back)
	if back != raw {
		t.Errorf("%+v became %+v", raw, back)
	}
}

func TestListenTCP(t *testing.T) {
	homes := []string{"[::ffff:127.0.0.1]:0", "127.0.0.1:0"}
	if hasIPv6() {
		homes = append(homes, "[::1]:0")
	}
	for _, home := range homes {
		t.Run(home, func(t *testing.T) {
			l, err := ListenTCP(netip.MustParseAddrPort(home))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			at, errno := LocalAddress(l.FD())
			if errno != 0 || at.Port == 0 || at.AddrPort().Addr() != netip.MustParseAddrPort(home).Addr().Unmap() {
				t.Fatalf("listens on %s, %v", at.AddrPort(), errno)
			}
			checkListener(t, l.FD(), at)
		})
	}
}

func checkListener(t *testing.T, listener int, at Addr) {
	if at.Is4() && hasIPv6() { // bound to an IPv6 address, the kernel makes it an IPv6-only socket
		if only, err := unix.GetsockoptInt(listener, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || only != 0 {
			t.Errorf("V6ONLY is %d, %v", only, err)
		}
	}
	if proto, err := unix.GetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil ||
		proto != unix.IPPROTO_TCP {
		t.Errorf("protocol %d, %v", proto, err)
	}
	client, server := connected(t, listener, at)
	defer Close(client)
	defer Close(server)
	for _, fd := range []int{client, server} {
		for _, o := range [][2]int{{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.SOL_SOCKET, unix.SO_OOBINLINE}} {
			if on, err := unix.GetsockoptInt(fd, o[0], o[1]); err != nil || on == 0 {
				t.Errorf("option %v of an accepted or a connected socket is %d, %v", o, on, err)
			}
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %x, %v", flags, err)
		}
		if flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %x, %v", flags, err)
		}
	}
	if dialled, errno := LocalAddress(server); errno != 0 || dialled != at {
		t.Errorf("original destination %s, %v", dialled.AddrPort(), errno)
	}
}

// connected returns both ends of a connection to a listener.
func connected(t *testing.T, listener int, at Addr) (client, server int) {
	t.Helper()
	client, errno := Connect(at)
	if errno != 0 && errno != unix.EINPROGRESS {
		t.Fatal(errno)
	}
	AckNow(client)
	poll(t, listener, unix.POLLIN)
	server, from, errno := Accept(listener)
	if errno != 0 {
		t.Fatal(errno)
	}
	if local, _ := LocalAddress(client); local != from {
		t.Errorf("accepted from %s, connected from %s", from.AddrPort(), local.AddrPort())
	}
	poll(t, client, unix.POLLOUT)
	if errno := TakeError(client); errno != 0 {
		t.Fatal(errno)
	}
	return client, server
}

func poll(t *testing.T, fd int, events int16) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 20_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("nothing happens: %v", err)
		}
		return
	}
}

// pair returns both ends of a connection over the loopback interface.
func pair(t *testing.T) (client, server int) {
	t.Helper()
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, _ := LocalAddress(l.FD())
	client, server = connected(t, l.FD(), at)
	t.Cleanup(func() { Close(client) })
	return client, server
}

func TestRecvSendDiscard(t *testing.T) {
	client, server := pair(t)
	defer Close(server)
	buf := make([]byte, 100)
	if n, errno := Recv(server, buf, 0); n != 0 || errno != unix.EAGAIN {
		t.Errorf("read %d, %v from an empty socket", n, errno)
	}
	if n, errno := Send(client, []byte("hello, world"), 0); n != 12 || errno != 0 {
		t.Fatalf("sent %d, %v", n, errno)
	}
	poll(t, server, unix.POLLIN)
	if n, errno := Recv(server, buf, unix.MSG_PEEK); string(buf[:n]) != "hello, world" {
		t.Errorf("peeked at %q, %v", buf[:n], errno)
	}
	if errno := Discard(server, 7); errno != 0 {
		t.Error(errno)
	}
	if n, errno := Recv(server, buf, 0); string(buf[:n]) != "world" {
		t.Errorf("read %q, %v", buf[:n], errno)
	}
	if errno := ShutdownWrite(client); errno != 0 {
		t.Error(errno)
	}
	poll(t, server, unix.POLLIN)
	if n, errno := Recv(server, buf, 0); n != 0 || errno != 0 {
		t.Errorf("read %d, %v at the end", n, errno)
	}
}

func TestSplice(t *testing.T) {
	client, server := pair(t)
	defer Close(server)
	pipe, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if n, errno := Splice(server, pipe.W, 100); n != 0 || errno != unix.EAGAIN {
		t.Errorf("spliced %d, %v from an empty socket", n, errno)
	}
	Send(client, []byte("hello"), 0)
	poll(t, server, unix.POLLIN)
	if n, errno := Splice(server, pipe.W, 100); n != 5 || errno != 0 {
		t.Fatalf("spliced %d, %v from a socket", n, errno)
	}
	if n, errno := Splice(pipe.R, server, 100); n != 5 || errno != 0 {
		t.Fatalf("spliced %d, %v to a socket", n, errno)
	}
	poll(t, client, unix.POLLIN)
	buf := make([]byte, 100)
	if n, errno := Recv(client, buf, 0); string(buf[:n]) != "hello" {
		t.Errorf("read %q, %v", buf[:n], errno)
	}
}

func TestPipeHoldsAFullWrite(t *testing.T) {
	pipe, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if n, err := unix.Write(pipe.W, make([]byte, PipeBytes)); n != PipeBytes || err != nil {
		t.Errorf("took %d bytes, %v", n, err)
	}
}

func TestAbortResets(t *testing.T) {
	client, server := pair(t)
	Abort(server)
	poll(t, client, unix.POLLIN)
	if errno := TakeError(client); errno != unix.ECONNRESET {
		t.Errorf("the other end sees %v", errno)
	}
	if errno := TakeError(client); errno != 0 {
		t.Errorf("the error is still there: %v", errno)
	}
}

func TestUnsent(t *testing.T) {
	client, server := pair(t)
	defer Close(server)
	if n := Unsent(client); n != 0 {
		t.Errorf("%d bytes unsent of nothing", n)
	}
	sent := 0
	for {
		n, errno := Send(client, make([]byte, 1<<20), 0)
		if errno != 0 {
			break
		}
		sent += n
	}
	if n := Unsent(client); n <= 0 || n > sent {
		t.Errorf("%d of %d bytes unsent to a peer that does not read", n, sent)
	}
}

// The first data goes out with the last packet of the handshake, unless AckNow has been called before.
func TestAckNow(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, _ := LocalAddress(l.FD())
	packets := func(ackNow bool) uint32 {
		fd, errno := Connect(at)
		if errno != 0 && errno != unix.EINPROGRESS {
			t.Fatal(errno)
		}
		defer Close(fd)
		poll(t, fd, unix.POLLOUT)
		if ackNow {
			AckNow(fd)
		}
		Send(fd, []byte("hello"), 0)
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		return info.Segs_out
	}
	if n := packets(true); n != 3 {
		t.Errorf("SYN, ACK and data in %d packets", n)
	}
	netlab.Eventually(t, "SYN and data are two packets", func() bool { return packets(false) == 2 }) // within 200 ms
}

func TestConnectRefused(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	at, _ := LocalAddress(l.FD())
	l.Close()
	fd, errno := Connect(at)
	if errno == unix.EINPROGRESS {
		defer Close(fd)
		poll(t, fd, unix.POLLOUT)
		errno = TakeError(fd)
	}
	if errno != unix.ECONNREFUSED {
		t.Errorf("connecting to nobody: %v", errno)
	}
}

func TestEpoll(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	w, err := NewWakeup()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const data = 0xfedcba9876543210
	if errno := e.Add(w.FD(), NewEvent(unix.EPOLLIN, data)); errno != 0 {
		t.Fatal(errno)
	}
	events := make([]Event, 4)
	if n, err := e.Wait(events, 0); n != 0 || err != nil {
		t.Errorf("%d events, %v before the signal", n, err)
	}
	time.AfterFunc(time.Millisecond, w.Signal)
	if n, err := e.Wait(events, 20_000); n != 1 || err != nil || events[0].Data() != data ||
		events[0].Events != unix.EPOLLIN {
		t.Errorf("%d events, %v, first %+v with data %x", n, err, events[0], events[0].Data())
	}
	w.Signal()
	w.Clear()
	if n, err := e.Wait(events, 0); n != 0 || err != nil {
		t.Errorf("%d events, %v after Clear", n, err)
	}
	w.Signal()
	if errno := e.Remove(w.FD()); errno != 0 {
		t.Error(errno)
	}
	if n, err := e.Wait(events, 0); n != 0 || err != nil {
		t.Errorf("%d events, %v after Remove", n, err)
	}
	if n, err := (Epoll{-1}).Wait(events, 0); err == nil {
		t.Errorf("%d events of a set that is not open", n)
	}
}

// The kernel's bounds are those that the configuration documents.
func TestSetMSS(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for mss, want := range map[int]error{87: unix.EINVAL, 88: nil, 32767: nil, 32768: unix.EINVAL} {
		if err := l.SetMSS(mss); !errors.Is(err, want) {
			t.Errorf("SetMSS(%d): %v, want %v", mss, err, want)
		}
	}
}
