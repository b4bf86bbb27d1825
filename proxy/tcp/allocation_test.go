package tcp

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/conf"
	"anyport/proxy/route"
	"anyport/proxy/sock"
)

// Neither a connection nor a message allocates, whichever way data moves.
func TestNoAllocation(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			testNoAllocation(t, f, introduction{})
		})
		t.Run(f.name+", PROXY headers", func(t *testing.T) {
			need(t, f)
			in := appendHeader(nil, conf.ProxyV1, addr("[2001:db8::1]:56324"), addr("[2001:db8::2]:443"))
			testNoAllocation(t, f, introduction{header: in, upstream: headerV2 + sizeTCP6,
				route: route.Route{HeaderSenders: everybody, ProxyProtocol: conf.ProxyV2}})
		})
	}
}

// introduction is what goes ahead of the data.
type introduction struct {
	route    route.Route
	header   []byte // from the client
	upstream int    // bytes to the upstream
}

func testNoAllocation(t *testing.T, f family, intro introduction) {
	up, err := sock.ListenTCP(netip.AddrPortFrom(f.upstream, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.Close() })
	at, _ := sock.LocalAddress(up.FD())
	r := newRig(t, f, setup{route: intro.route, upstreams: []netip.AddrPort{at.AddrPort()}, noLog: true})
	dialled := sock.AddrFrom(r.addr)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v", r.totals())
		}
	})
	buf := make([]byte, 1<<20)
	const warmUp, runs = 100, 400
	for range warmUp {
		rawExchange(t, dialled, up.FD(), buf, intro)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		rawExchange(t, dialled, up.FD(), buf, intro)
	}
	runtime.ReadMemStats(&after)
	// The runtime allocates a little on its own; one object per connection would be 400, one per message 5200.
	if n := after.Mallocs - before.Mallocs; n > runs/10 {
		t.Errorf("%d connections allocated %d times", runs, n)
	}
}

// rawExchange makes a connection that carries six small messages each way and a large one, allocating nothing itself.
func rawExchange(t *testing.T, dialled sock.Addr, upstream int, buf []byte, intro introduction) {
	client, errno := sock.Connect(dialled)
	if errno != 0 && errno != unix.EINPROGRESS {
		t.Fatal(errno)
	}
	rawSend(t, client, intro.header)
	rawSend(t, client, buf[:64])
	server := rawAccept(t, upstream)
	rawReceive(t, server, buf[:intro.upstream])
	for range 6 {
		rawReceive(t, server, buf[:64])
		rawSend(t, server, buf[:64])
		rawReceive(t, client, buf[:64])
		rawSend(t, client, buf[:64])
	}
	rawSend(t, server, buf[:400<<10])
	rawReceive(t, client, buf[:400<<10])
	sock.ShutdownWrite(client)
	rawReceive(t, server, buf[:64])
	sock.Close(server)
	for n := 1; n > 0; { // until the FIN
		n, errno = sock.Recv(client, buf, 0)
		n += again(t, errno)
	}
	sock.Close(client)
}

func rawAccept(t *testing.T, listener int) int {
	for {
		fd, _, errno := sock.Accept(listener)
		if again(t, errno) == 0 {
			return fd
		}
	}
}

func rawSend(t *testing.T, fd int, data []byte) {
	for len(data) > 0 {
		n, errno := sock.Send(fd, data, 0)
		again(t, errno)
		data = data[n:]
	}
}

func rawReceive(t *testing.T, fd int, buf []byte) {
	for len(buf) > 0 {
		n, errno := sock.Recv(fd, buf, 0)
		if again(t, errno) == 0 && n == 0 {
			t.Fatal("end of stream")
		}
		buf = buf[n:]
	}
}

// again lets others run and returns 1 if a call has to be made again, and returns 0 if it succeeded.
func again(t *testing.T, errno syscall.Errno) int {
	switch errno {
	case 0:
		return 0
	case unix.EAGAIN, unix.ENOTCONN, unix.EPIPE:
		runtime.Gosched()
		return 1
	}
	t.Fatal(errno)
	return 0
}
