package udp

import (
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// TestForgedClientIsServed sends datagrams whose source is an address of ours: the answer comes back to us, and must not
// be taken for a client's datagram, whose answer would come back to us in turn.
func TestForgedClientIsServed(t *testing.T) {
	for _, c := range []struct{ name, client, dst string }{
		{"v4", "198.18.0.2:7", "198.18.0.1:9"},
		{"v6", "[2001:db8::2]:7", "[2001:db8::1]:9"},
		{"v4 to itself", "198.18.0.1:9", "198.18.0.1:9"},
		{"v6 to itself", "[2001:db8::1]:9", "[2001:db8::1]:9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), idle: time.Hour})
			r.run(t)
			echo(t, listen(t, r.Upstream, "10.2.0.2:7777"))
			r.forge(t, c.client, c.dst)
			netlab.Eventually(t, "the refusal of the answer", func() bool { return r.ended("0", stats.Loop) == 1 })
			if got := r.registry.Route("0").UDP[0].PacketsIn.Load(); got > 1 {
				t.Errorf("%d datagrams were forwarded, want the forged one at most", got)
			}
		})
	}
}

// forge sends a datagram within the proxy's namespace, where any source will do.
func (r *rig) forge(t *testing.T, src, dst string) {
	t.Helper()
	must(t, r.Proxy.Do(func() error {
		raw, err := sock.OpenRawUDP(1, func(err error) { t.Error(err) })
		if err != nil {
			return err
		}
		from, to := sock.AddrFrom(netip.MustParseAddrPort(src)), sock.AddrFrom(netip.MustParseAddrPort(dst))
		raw.Queue(&from, &to, nil, []byte("?"))
		raw.Flush()
		return raw.Close()
	}))
}
