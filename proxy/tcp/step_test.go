package tcp

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// stepped is a connection that relays in a worker that does not run, so that a test decides what happens when.
type stepped struct {
	*rig
	w                *worker
	c                *conn
	client, upstream *peer // the far ends
}

func newStepped(t *testing.T, rt route.Route) *stepped {
	t.Helper()
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{route: rt, waitRun: true})
	w := r.engine.workers[0]
	w.clock.read()
	w.engine.active.Add(1)
	w.load.Add(1)
	c := w.slab.get()
	c.route = w.routes.hold(r.route)
	w.routes.at(c.route).shard.Opened.Add(1)
	t.Cleanup(w.endAll)
	s := &stepped{rig: r, w: w, c: c}
	s.client = s.connect(client, up)
	s.upstream = s.connect(upstream, up)
	w.begin(c)
	return s
}

// connect gives the connection a socket and returns the other end of it.
func (s *stepped) connect(of side, up *server) *peer {
	s.t.Helper()
	fd, errno := sock.Connect(sock.AddrFrom(up.addr))
	if errno != 0 && errno != unix.EINPROGRESS {
		s.t.Fatal(errno)
	}
	sock.AckNow(fd)
	s.c.legs[of].fd = int32(fd)
	return up.accept()
}

// event is what a worker does on one.
func (s *stepped) event(of side, events uint32) {
	s.w.note(s.c, of, events)
	s.w.relay(s.c)
}

// A FIN that has been seen waits for the data before it, of which the other side has taken a part.
func TestFinWaitsForHeldData(t *testing.T) {
	s := newStepped(t, route.Route{})
	stuffed := stuff(t, int(s.c.legs[client].fd))
	const n = bufferBytes - 1 // a read of this is a short one
	s.upstream.send(n)
	s.upstream.fin()
	netlab.Eventually(t, "the FIN is there", func() bool {
		info, err := unix.GetsockoptTCPInfo(int(s.c.legs[upstream].fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		return err == nil && info.State == unix.BPF_TCP_CLOSE_WAIT
	})
	s.event(upstream, unix.EPOLLIN|unix.EPOLLRDHUP)
	if l := &s.c.legs[upstream]; l.pipe == 0 || !l.is(exhausted) {
		t.Fatalf("not what this test is about: flags %b, pipe %d", l.flags, l.pipe)
	}
	for stuffed > 0 {
		k, err := io.CopyN(io.Discard, s.client, int64(min(stuffed, 4096)))
		if err != nil {
			t.Fatal(err)
		}
		stuffed -= int(k)
		s.event(client, unix.EPOLLOUT)
	}
	netlab.Eventually(t, "the pipe is empty", func() bool {
		s.event(client, unix.EPOLLOUT)
		return s.c.legs[upstream].pipe == 0
	})
	s.client.expect(n)
	s.client.expectFIN()
}

// A FIN that is known when the last data is passed on goes into the same packet.
func TestFinInTheLastPacket(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.event(upstream, unix.EPOLLOUT)
	before := s.client.packets()
	s.upstream.send(some)
	s.upstream.fin()
	s.upstream.awaitAcked()
	s.event(upstream, unix.EPOLLIN|unix.EPOLLRDHUP)
	s.client.expect(some)
	s.client.expectFIN()
	if n := s.client.packets() - before; n != 1 {
		t.Errorf("data and FIN came in %d packets", n)
	}
}

// packets returns how many have arrived at the peer's socket.
func (p *peer) packets() (n uint32) {
	p.fd(func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			p.t.Error(err)
			return
		}
		n = info.Segs_in
	})
	return n
}

// A FIN behind data that fills the buffer exactly is seen, too.
func TestFinBehindFullReads(t *testing.T) {
	for _, pipes := range []int{maxPipes, 0} {
		s := newStepped(t, route.Route{})
		s.w.pipes.most = pipes
		for range 5 {
			s.upstream.send(bufferBytes)
			s.upstream.awaitAcked()
			s.event(upstream, unix.EPOLLIN)
			s.client.expect(bufferBytes)
		}
		s.upstream.fin()
		netlab.Eventually(t, "the FIN is passed on", func() bool {
			s.event(upstream, unix.EPOLLIN|unix.EPOLLRDHUP)
			return s.c.legs[client].is(finSent)
		})
		s.client.expectFIN()
	}
}

// A RST that a write runs into first is one that the event reports later.
func TestWriteMeetsReset(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.event(client, unix.EPOLLIN) // nothing is there yet
	s.client.send(some)
	s.client.awaitAcked()
	s.client.rst()
	s.upstream.send(some)
	s.upstream.awaitAcked()
	s.event(upstream, unix.EPOLLIN) // the write fails; what the client has sent is still to be delivered
	s.event(client, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP)
	s.upstream.expect(some)
	s.upstream.expectRST()
	s.awaitEnded(stats.ClientReset, 1)
	if rec := s.records()[0]; rec.BytesIn != some || rec.BytesOut != 0 || rec.Error != "" {
		t.Errorf("record: %+v", rec)
	}
}

// A RST behind a FIN that has not been read yet does not swallow the FIN.
func TestResetBehindFin(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.event(upstream, unix.EPOLLOUT)
	s.upstream.send(some)
	s.upstream.fin()
	s.upstream.awaitAcked()
	s.upstream.rst()
	s.event(upstream, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP)
	s.client.expect(some)
	s.client.expectFIN()
	s.client.expectAbort()
	s.awaitEnded(stats.UpstreamReset, 1)
}

// Once both sides have sent a FIN, all is said: a RST that answers the later one is not passed on.
func TestResetBehindBothFins(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.event(upstream, unix.EPOLLOUT)
	s.upstream.send(some)
	s.upstream.fin()
	s.upstream.awaitAcked()
	s.upstream.rst()
	s.client.fin()
	netlab.Eventually(t, "the client's FIN is passed on", func() bool {
		s.event(client, unix.EPOLLIN|unix.EPOLLRDHUP)
		return s.c.legs[upstream].is(finSent)
	})
	s.event(upstream, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP)
	s.client.expect(some)
	s.client.expectFIN()
	s.awaitEnded(stats.Done, 1)
}

// With both sockets lost there is nobody to deliver to.
func TestBothReset(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.upstream.send(some)
	s.upstream.awaitAcked()
	s.upstream.rst()
	s.client.rst()
	s.w.note(s.c, upstream, unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP)
	s.w.note(s.c, client, unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP)
	s.awaitEnded(stats.UpstreamReset, 1)
}

// Where there is no memory for what the other side would not take, the connection ends; data is not just lost.
func TestPipeWithoutMemory(t *testing.T) {
	s := newStepped(t, route.Route{})
	if !s.w.pipes.ready(0) {
		t.Fatal("no pipe")
	}
	number := s.w.pipes.get()
	if _, err := unix.FcntlInt(uintptr(s.w.pipes.at(number).W), unix.F_SETPIPE_SZ, unix.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	s.w.pipes.put(number)
	s.w.hold(s.c, client, noise[:bufferBytes])
	s.client.expectRST()
	s.upstream.expectRST()
	rec := s.records()
	if len(rec) != 1 || rec[0].Reason != stats.IOError.String() || rec[0].Error != unix.ENOMEM.Error() {
		t.Errorf("records: %+v", rec)
	}
}

// Other errors than a RST have a reason of their own, and are named.
func TestSocketError(t *testing.T) {
	s := newStepped(t, route.Route{})
	s.w.lost(s.c, upstream, unix.EPROTO)
	s.w.resume()
	s.upstream.fin() // nothing was wrong with the socket: it has to end for the connection to
	netlab.Eventually(t, "the connection has ended", func() bool {
		s.w.clock.now += 1 << tickBits
		s.w.timers.turn(s.w.clock.tick(), s.w.expire)
		return s.engine.Active() == 0
	})
	s.client.expectRST()
	if rec := s.records()[0]; rec.Reason != stats.IOError.String() || rec.Error != unix.EPROTO.Error() {
		t.Errorf("record: %+v", rec)
	}
}

// A timer that fires is early if data has moved since it was set.
func TestTrafficDefersTheIdleTimeout(t *testing.T) {
	const idle = 1 << 30
	s := newStepped(t, route.Route{TCPIdle: idle})
	pass := func(ns int64) {
		s.w.clock.now += ns
		s.w.timers.turn(s.w.clock.tick(), s.w.expire)
	}
	pass(idle / 2)
	s.w.credit(s.c, client, 1)
	pass(idle / 2)
	pass(4 << tickBits)
	if s.c.state != relaying {
		t.Fatal("ended although data has moved")
	}
	pass(idle)
	s.client.expectRST()
	s.awaitEnded(stats.IdleTimeout, 1)
}

// A PROXY header that the socket takes in parts arrives whole, and before anything else.
func TestProxyHeaderInParts(t *testing.T) {
	s := newStepped(t, route.Route{ProxyProtocol: 1})
	fd := int(s.c.legs[upstream].fd)
	s.c.client = addr("127.0.0.1:1024")
	s.c.dst = addr("127.0.0.2:53")
	stuffed := stuff(t, fd)
	const parted = 7 // bytes that have gone before
	s.c.headerSent = parted
	s.event(client, unix.EPOLLIN)
	if !s.c.legs[client].is(blocked) || !s.c.headerDue {
		t.Fatal("a socket without room has taken the header")
	}
	if _, err := io.CopyN(io.Discard, s.upstream, int64(stuffed)); err != nil {
		t.Fatal(err)
	}
	s.client.send(some)
	netlab.Eventually(t, "the socket takes the rest of the header", func() bool {
		s.event(upstream, unix.EPOLLOUT)
		return !s.c.headerDue
	})
	const header = "PROXY TCP4 127.0.0.1 127.0.0.2 1024 53\r\n"
	got := make([]byte, len(header)-parted)
	if _, err := io.ReadFull(s.upstream, got); err != nil || string(got) != header[parted:] {
		t.Errorf("got %q, %v", got, err)
	}
	s.event(client, unix.EPOLLIN)
	s.upstream.expect(some)
}

// stuff writes to a socket until it takes nothing more, and returns how much it took.
func stuff(t *testing.T, fd int) (total int) {
	t.Helper()
	for range 1 << 20 {
		n, errno := sock.Send(fd, noise[:1<<20], 0)
		if errno == unix.EAGAIN && sock.Unsent(fd) > 0 {
			return total
		}
		if errno != 0 && errno != unix.EAGAIN && errno != unix.EINPROGRESS {
			t.Fatal(errno)
		}
		total += n
	}
	t.Fatal("the socket takes everything")
	return 0
}
