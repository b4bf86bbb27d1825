package tcp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"anyport/bench/netlab"
	"anyport/proxy/sock"
)

// listenMore has a rig accept from one more listener.
func (r *rig) listenMore() (*sock.Socket, netip.AddrPort) {
	r.t.Helper()
	l, err := sock.ListenTCP(netip.AddrPortFrom(r.addr.Addr(), 0))
	if err == nil {
		err = r.engine.Listen(l)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.more = append(r.more, l)
	a, errno := sock.LocalAddress(l.FD())
	if errno != 0 {
		r.t.Fatal(errno)
	}
	return l, a.AddrPort()
}

// dialAt is dial to another listener.
func (r *rig) dialAt(to netip.AddrPort) *peer {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, "client", c)
}

// awaitRefused waits until nobody listens at an address.
func (r *rig) awaitRefused(at netip.AddrPort) {
	r.t.Helper()
	netlab.Eventually(r.t, "the listener is closed", func() bool {
		c, err := net.DialTimeout("tcp", at.String(), patience)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A listener that comes is served like the first one, and one that goes has its queue served before it is closed: all of
// it, though that is more than is accepted at a time.
func TestListenersComeAndGo(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			up := newServer(t, f.upstream)
			r := newRig(t, f, setup{upstreams: addrs(up), waitRun: true})
			l, at := r.listenMore()
			const queued = 2*acceptBatch + 3
			clients := []*peer{r.dial()}
			for range queued {
				clients = append(clients, r.dialAt(at))
			}
			r.engine.Unlisten(l)
			r.run()
			up.serving.Go(up.serveEcho)
			for _, c := range clients {
				c.echoAgain()
			}
			r.awaitRefused(at)
			again, at := r.listenMore()
			r.dialAt(at).echoAgain()
			r.dial().echoAgain()
			r.engine.Unlisten(again)
			r.awaitRefused(at)
			r.dial().echoAgain()
		})
	}
}

// A listener that goes while no worker runs is closed with the engine, or at once if that has been closed.
func TestUnlistenWithoutRun(t *testing.T) {
	r := newRig(t, v4, setup{waitRun: true})
	early, at := r.listenMore()
	late, atLate := r.listenMore()
	r.engine.Unlisten(early)
	r.engine.Close()
	r.awaitRefused(at)
	if _, errno := sock.LocalAddress(late.FD()); errno != 0 {
		t.Errorf("the engine has closed a listener that was not left: %v", errno)
	}
	r.engine.Unlisten(late)
	r.awaitRefused(atLate)
}

// Listeners come and go while clients of the first one, and of one that stays, are served.
func TestListenersUnderLoad(t *testing.T) {
	up := newServer(t, v4.upstream)
	up.serving.Go(up.serveEcho)
	r := newRig(t, v4, setup{upstreams: addrs(up), workers: 3})
	stays, at := r.listenMore()
	for range 50 {
		l, passing := r.listenMore()
		waiting := []*peer{r.dialAt(passing), r.dialAt(passing), r.dialAt(passing)}
		r.engine.Unlisten(l)
		for _, p := range append(waiting, r.dial(), r.dialAt(at)) {
			p.echoAgain()
			p.Close()
		}
	}
	r.engine.Unlisten(stays)
	r.awaitRefused(at)
}
