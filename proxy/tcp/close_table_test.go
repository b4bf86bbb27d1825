package tcp

import (
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// ending is one way for a connection to end, once both sides are connected.
type ending struct {
	name   string
	script func(client, upstream *peer)
	reason stats.Reason
	route  route.Route
}

const (
	some = 1000
	lots = 300 << 10
)

// talk has both sides say something.
func talk(client, upstream *peer) {
	client.send(some)
	upstream.expect(some)
	upstream.send(lots)
	client.expect(lots)
}

var endings = []ending{
	{name: "client FIN, upstream FIN", reason: stats.Done, script: func(client, upstream *peer) {
		talk(client, upstream)
		client.fin()
		upstream.expectFIN()
		upstream.fin()
		client.expectFIN()
	}},
	{name: "upstream closes first", reason: stats.Done, script: func(client, upstream *peer) {
		talk(client, upstream)
		upstream.fin()
		client.expectFIN()
		client.fin()
		upstream.expectFIN()
	}},
	{name: "upstream closes first, without a byte", reason: stats.Done, script: func(client, upstream *peer) {
		upstream.fin()
		client.expectFIN()
		client.fin()
		upstream.expectFIN()
	}},
	{name: "both FIN at once", reason: stats.Done, script: func(client, upstream *peer) {
		client.send(lots)
		upstream.send(lots)
		client.fin()
		upstream.fin()
		client.expect(lots)
		upstream.expect(lots)
		client.expectFIN()
		upstream.expectFIN()
	}},
	{name: "client half-close, data after it", reason: stats.Done, script: func(client, upstream *peer) {
		client.send(some)
		client.fin()
		upstream.expect(some)
		upstream.expectFIN()
		upstream.send(lots)
		client.expect(lots)
		upstream.send(lots)
		upstream.fin()
		client.expect(lots)
		client.expectFIN()
	}},
	{name: "upstream half-close, data after it", reason: stats.Done, script: func(client, upstream *peer) {
		upstream.send(lots)
		upstream.fin()
		client.expect(lots)
		client.expectFIN()
		client.send(some)
		upstream.expect(some)
		client.send(lots)
		client.fin()
		upstream.expect(lots)
		upstream.expectFIN()
	}},
	{name: "client RST", reason: stats.ClientReset, script: func(client, upstream *peer) {
		talk(client, upstream)
		client.rst()
		upstream.expectRST()
	}},
	{name: "client RST without a byte", reason: stats.ClientReset, script: func(client, upstream *peer) {
		client.rst()
		upstream.expectRST()
	}},
	{name: "upstream RST", reason: stats.UpstreamReset, script: func(client, upstream *peer) {
		talk(client, upstream)
		upstream.rst()
		client.expectRST()
	}},
	{name: "upstream RST without a byte", reason: stats.UpstreamReset, script: func(client, upstream *peer) {
		upstream.rst()
		client.expectRST()
	}},
	{name: "client RST behind data", reason: stats.ClientReset, script: func(client, upstream *peer) {
		client.send(some)
		client.awaitAcked()
		client.rst()
		upstream.expect(some)
		upstream.expectRST()
	}},
	{name: "upstream RST behind data", reason: stats.UpstreamReset, script: func(client, upstream *peer) {
		upstream.send(lots)
		upstream.awaitAcked()
		upstream.rst()
		client.expect(lots)
		client.expectRST()
	}},
	{name: "client RST after its FIN", reason: stats.ClientReset, script: func(client, upstream *peer) {
		client.send(some)
		client.fin()
		upstream.expect(some)
		upstream.expectFIN()
		client.rst()
		upstream.expectAbort()
	}},
	{name: "upstream RST after its FIN", reason: stats.UpstreamReset, script: func(client, upstream *peer) {
		upstream.send(lots)
		upstream.fin()
		client.expect(lots)
		client.expectFIN()
		upstream.rst()
		client.expectAbort()
	}},
	{name: "client RST after upstream FIN", reason: stats.ClientReset, script: func(client, upstream *peer) {
		upstream.fin()
		client.expectFIN()
		client.rst()
		upstream.expectRST()
	}},
	{name: "upstream RST after client FIN", reason: stats.UpstreamReset, script: func(client, upstream *peer) {
		client.fin()
		upstream.expectFIN()
		upstream.rst()
		client.expectRST()
	}},
	{name: "client closes with data unread", reason: stats.ClientReset, script: func(client, upstream *peer) {
		client.send(some)
		upstream.expect(some)
		upstream.send(some)
		upstream.awaitAcked()
		netlab.Eventually(client.t, "data has reached the client", func() bool { return client.unread() == some })
		client.Close()
		upstream.expectRST()
	}},
	{name: "silence", reason: stats.IdleTimeout, route: route.Route{TCPIdle: 250 * time.Millisecond}, script: func(client, upstream *peer) {
		client.expectRST()
		upstream.expectRST()
	}},
	{name: "silence after data", reason: stats.IdleTimeout, route: route.Route{TCPIdle: 500 * time.Millisecond},
		script: func(client, upstream *peer) {
			talk(client, upstream)
			client.expectRST()
			upstream.expectRST()
		}},
	{name: "silence after client half-close", reason: stats.IdleTimeout, route: route.Route{TCPIdle: 250 * time.Millisecond},
		script: func(client, upstream *peer) {
			client.fin()
			upstream.expectFIN()
			client.expectRST()
			upstream.expectAbort()
		}},
	{name: "silence after upstream half-close", reason: stats.IdleTimeout, route: route.Route{TCPIdle: 250 * time.Millisecond},
		script: func(client, upstream *peer) {
			upstream.fin()
			client.expectFIN()
			upstream.expectRST()
			client.expectAbort()
		}},
	{name: "client half-close, upstream too slow", reason: stats.HalfCloseTimeout, route: shortHalfClose,
		script: func(client, upstream *peer) {
			client.send(some)
			client.fin()
			upstream.expect(some)
			upstream.expectFIN()
			upstream.send(lots) // and never finishes
			client.expect(lots)
			upstream.expectAbort()
			client.expectRST()
		}},
	{name: "upstream half-close, client too slow", reason: stats.HalfCloseTimeout, route: shortHalfClose,
		script: func(client, upstream *peer) {
			upstream.fin()
			client.expectFIN()
			client.send(some)
			upstream.expect(some)
			client.expectAbort()
			upstream.expectRST()
		}},
	{name: "half-close, but idle_timeout is shorter", reason: stats.IdleTimeout,
		route: route.Route{TCPIdle: 250 * time.Millisecond, HalfClose: time.Hour}, script: func(client, upstream *peer) {
			client.fin()
			upstream.expectFIN()
			client.expectRST()
			upstream.expectAbort()
		}},
}

var shortHalfClose = route.Route{HalfClose: 250 * time.Millisecond}

func TestCloses(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			for _, c := range endings {
				t.Run(c.name, func(t *testing.T) { testClose(t, path.client, path.upstream, c, false) })
				t.Run(c.name+", behind a PROXY header", func(t *testing.T) { testClose(t, path.client, path.upstream, c, true) })
			}
		})
	}
}

func testClose(t *testing.T, from, to family, c ending, behind bool) {
	up := newServer(t, to.upstream)
	rt := c.route
	if behind {
		rt.HeaderSenders = everybody
	}
	r := newRig(t, from, setup{route: rt, upstreams: addrs(up)})
	client := r.dial()
	dialled := client.LocalAddr().String()
	if behind {
		dialled = client.introduce()
	}
	upstream := up.accept()
	c.script(client, upstream)
	r.awaitEnded(c.reason, 1)
	netlab.Eventually(t, "no connection is active", func() bool { return r.engine.Active() == 0 })
	got := r.records()
	if len(got) != 1 {
		t.Fatalf("%d records: %+v", len(got), got)
	}
	rec := got[0]
	in, out := uint64(upstream.received), uint64(client.received)
	switch {
	case rec.Reason != c.reason.String() || (rec.Error != "") != c.reason.HasErrno():
		t.Errorf("ended for %s %s, want %s", rec.Reason, rec.Error, c.reason)
	case rec.BytesIn < in || rec.BytesOut < out || rec.BytesIn > in && c.reason != stats.UpstreamTimeout:
		t.Errorf("log has %d bytes in and %d out, %d and %d arrived", rec.BytesIn, rec.BytesOut, in, out)
	case rec.Route != "test" || rec.Client.String() != dialled || rec.Destination != r.addr ||
		rec.Upstream == nil || *rec.Upstream != up.addr:
		t.Errorf("record of other addresses: %+v", rec)
	case rec.Connect <= 0 || rec.Duration < rec.Connect:
		t.Errorf("connected in %f s of %f s", rec.Connect, rec.Duration)
	case !plausibleRTT(rec.ClientRTT) || !plausibleRTT(rec.UpstreamRTT):
		t.Errorf("round-trip times of %f s and %f s", rec.ClientRTT, rec.UpstreamRTT)
	}
}

// plausibleRTT reports whether a time may be one of the loopback interface.
func plausibleRTT(seconds float64) bool { return seconds > 0 && seconds < patience.Seconds() }
