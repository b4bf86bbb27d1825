package e2e

import (
	"net/netip"
	"testing"
	"time"
)

// TestWildcardDaemon puts a daemon on 0.0.0.0 and [::] of the proxy: a sealed prefix hides it, an open one shows it, on
// the ports that no rule claims.
func TestWildcardDaemon(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	w.wildcardDaemons("bystander", 4000, 5000)
	w.run(`
prefixes = ["198.18.0.0/20", "2001:db8::/48"]
open_prefixes = ["198.18.4.0/24", "2001:db8:0:4::/64"]
[[route]]
ports = "5000"
upstream = ["10.2.0.2:7000"]
`)
	for _, f := range []struct{ sealed, open string }{
		{"198.18.1.1", "198.18.4.1"}, {"2001:db8:0:1::1", "2001:db8:0:4::1"},
	} {
		sealed, open := netip.MustParseAddr(f.sealed), netip.MustParseAddr(f.open)
		for _, network := range []string{"tcp", "udp"} {
			if err := refusal(w.Client, network, netip.AddrPortFrom(sealed, 4000)); !isRefused(err) {
				t.Errorf("%s daemon's port on the sealed %s: %v, want a refusal", network, sealed, err)
			}
			if err := refusal(w.Client, network, netip.AddrPortFrom(open, 4001)); !isRefused(err) {
				t.Errorf("%s port without daemon on the open %s: %v, want a refusal", network, open, err)
			}
		}
		checkBystander(t, w, netip.AddrPortFrom(open, 4000))
		checkGreeting(t, w, netip.AddrPortFrom(open, 5000), "upstream")
		checkGreeting(t, w, netip.AddrPortFrom(sealed, 5000), "upstream")
	}
}

// wildcardDaemons listens on every address of the proxy, as a daemon that knows nothing of anyport does.
func (w *world) wildcardDaemons(name string, ports ...uint16) {
	w.t.Helper()
	for _, port := range ports {
		at := netip.AddrPortFrom(netip.IPv6Unspecified(), port).String()
		serve(w.t, listen(w.t, w.Proxy, at), echoAs(name))
		servePackets(w.t, listenPacket(w.t, w.Proxy, at), func([]byte) []byte { return []byte(name) })
	}
}

// checkGreeting checks that an echo service of that name answers at a destination over TCP, and one over UDP.
func checkGreeting(t *testing.T, w *world, to netip.AddrPort, who string) {
	t.Helper()
	if err := tryEcho(w.Client, to, who+"\n", []byte("hello")); err != nil {
		t.Error(err)
	}
	c, err := packetConn(w.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := tryPacket(c, to, []byte("hello")); err != nil {
		t.Error(err)
	}
}

// checkBystander checks that the wildcard daemons answer. The UDP one does it from whatever address the kernel chooses,
// as such daemons do.
func checkBystander(t *testing.T, w *world, to netip.AddrPort) {
	t.Helper()
	if err := tryEcho(w.Client, to, "bystander\n", []byte("hello")); err != nil {
		t.Error(err)
	}
	c, err := packetConn(w.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(deadline))
	buf := make([]byte, 64)
	if n, _, err := c.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != "bystander" {
		t.Errorf("datagram to %s was answered %q, %v", to, buf[:n], err)
	}
}
