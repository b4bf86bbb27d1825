package udp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/stats"
)

// TestUnreachableUpstream mixes datagrams to a port that answers with ICMP errors, and to an address that has no
// neighbour, into the batches of a flow that works.
func TestUnreachableUpstream(t *testing.T) {
	r := newRig(t, 100,
		spec{prefix: netip.MustParsePrefix("198.18.1.0/24"), upstream: to("10.2.0.2:9")},
		spec{prefix: netip.MustParsePrefix("198.18.2.0/24"), upstream: to("10.2.0.99:9")},
		spec{prefix: netip.MustParsePrefix("198.18.3.0/24"), upstream: to("10.2.0.2:7777")})
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	refused, silent := dial(t, r.Client, "198.18.1.1:9"), dial(t, r.Client, "198.18.2.1:9")
	works := dial(t, r.Client, "198.18.3.1:9")
	for i := range 300 {
		_, _ = refused.Write([]byte("?")) // its socket may report the last error
		_, err := silent.Write([]byte("?"))
		must(t, err)
		exchange(t, works, fmt.Appendf(nil, "%d", i))
	}
}

// TestSendErrors makes the kernel refuse to send to one upstream (a prohibit route gives EACCES) and checks that the
// rest of each batch leaves and that the failures are counted.
func TestSendErrors(t *testing.T) {
	r := newRig(t, 100, spec{prefix: netip.MustParsePrefix("198.18.1.0/24"), upstream: to("10.2.0.99:9")}, echoUpstream)
	shell(t, r.Proxy, "ip", "route", "add", "prohibit", "10.2.0.99")
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	bad, good := dial(t, r.Client, "198.18.1.1:9"), dial(t, r.Client, "198.18.3.1:9")
	const n = 50
	for range n {
		_, err := bad.Write([]byte("?"))
		must(t, err)
		_, err = good.Write([]byte("!"))
		must(t, err)
	}
	for range n {
		receive(t, good)
	}
	netlab.Eventually(t, "all failures to be counted", func() bool { return r.dropped(stats.DropSend) == n })
}

// TestRefusals checks the reason of each flow that may not begin.
func TestRefusals(t *testing.T) {
	r := newRig(t, 1,
		spec{prefix: netip.MustParsePrefix("198.18.1.0/24"), upstream: conf.Upstream{Name: "unresolved.example"}},
		spec{prefix: netip.MustParsePrefix("198.18.2.0/24"), upstream: to("198.18.9.9:9")},
		spec{prefix: netip.MustParsePrefix("198.18.3.0/24"), upstream: to("203.0.113.1:9")},
		spec{prefix: netip.MustParsePrefix("198.18.4.0/24"), upstream: to("10.1.0.2:9")},
		spec{prefix: netip.MustParsePrefix("2001:db8::/64"), upstream: to("10.2.0.2:7777"), idle: time.Hour})
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	for _, c := range []struct {
		dst, route string
		why        stats.Reason
	}{
		{"198.18.1.1:9", "0", stats.NoUpstream},
		{"198.18.2.1:9", "1", stats.Loop},
		{"198.18.3.1:9", "2", stats.NoSource}, // no route to it, so no source address
		{"198.18.4.1:9", "3", stats.NoSource}, // its source has not been added
	} {
		send(t, r, c.dst)
		netlab.Eventually(t, c.why.String(), func() bool { return r.ended(c.route, c.why) == 1 })
	}
	send(t, r, "[2001:db8:0:1::1]:9")
	unrouted := &r.registry.Unrouted.UDP[0]
	netlab.Eventually(t, "no route", func() bool { return unrouted.Ended[stats.NoRoute].Load() == 1 })

	busy := dial(t, r.Client, "[2001:db8::1]:9")
	exchange(t, busy, []byte("first"))
	send(t, r, "[2001:db8::1]:10")
	netlab.Eventually(t, "the limit", func() bool { return r.ended("4", stats.Limit) == 1 })
	exchange(t, busy, []byte("second"))
	if n := r.dropped(stats.DropNoFlow); n != 6 || r.engine.Active() != 1 {
		t.Errorf("dropped %d datagrams, %d flows are open", n, r.engine.Active())
	}
}
