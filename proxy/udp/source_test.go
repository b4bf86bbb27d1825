package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
)

// TestWildcardDaemons has replies leave from ports that other daemons hold on the wildcard addresses, privileged ones
// among them.
func TestWildcardDaemons(t *testing.T) {
	r := newRig(t, 100, echoUpstream)
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	for _, port := range []int{1, 53, 443, 5353} {
		daemon4 := listenOn(t, r.Proxy, "udp4", fmt.Sprintf("0.0.0.0:%d", port))
		daemon6 := listenOn(t, r.Proxy, "udp6", fmt.Sprintf("[::]:%d", port))
		for _, ns := range []*netlab.Namespace{r.Client, r.Proxy} {
			exchange(t, dial(t, ns, fmt.Sprintf("198.18.0.1:%d", port)), randomBytes(100))
			exchange(t, dial(t, ns, fmt.Sprintf("[2001:db8::1]:%d", port)), randomBytes(2000))
		}
		for _, d := range []*net.UDPConn{daemon4, daemon6} {
			must(t, d.SetReadDeadline(time.Now()))
			if n, from, err := d.ReadFromUDP(make([]byte, 100)); err == nil {
				t.Fatalf("the daemon on port %d got %d bytes from %v", port, n, from)
			}
		}
	}
}

// TestLinkLocalClient has a client with a link-local address, which is good on its own link only.
func TestLinkLocalClient(t *testing.T) {
	r := newRig(t, 100, echoUpstream)
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	var source netip.Addr
	must(t, r.Client.Do(func() error {
		link, err := net.InterfaceByName("proxy0")
		if err != nil {
			return err
		}
		addrs, err := link.Addrs()
		for _, a := range addrs {
			if ip := a.(*net.IPNet).IP; ip.IsLinkLocalUnicast() {
				source = netip.AddrFrom16([16]byte(ip.To16())).WithZone(link.Name)
			}
		}
		return err
	}))
	c := listen(t, r.Client, netip.AddrPortFrom(source, 4000).String())
	dst := netip.MustParseAddrPort("[2001:db8::1]:9")
	_, err := c.WriteToUDPAddrPort([]byte("hello"), dst)
	must(t, err)
	if got, from := receive(t, c); string(got) != "hello" || from != dst {
		t.Fatalf("got %q from %v", got, from)
	}
}

// TestUseSources lets new flows leave from a source that is not the endpoint's own, and then from another, while the
// first flow keeps its own.
func TestUseSources(t *testing.T) {
	r := newRig(t, 100, echoUpstream)
	first, second := netip.MustParseAddr("10.2.0.77"), netip.MustParseAddr("10.2.0.78")
	must(t, r.Proxy.AddAddr("upstream0", netip.PrefixFrom(first, 24)))
	must(t, r.Proxy.AddAddr("upstream0", netip.PrefixFrom(second, 24)))
	r.sources(t, first, second, netlab.ProxyUpstream6)
	r.start(t)
	server := listen(t, r.Upstream, "[::]:7777")
	use := func(addr netip.Addr) {
		r.engine.UseSources([]conf.UDPSource{{Addr: addr, Ports: natPorts}})
	}
	expect := func(client net.Conn, want netip.Addr) {
		t.Helper()
		_, err := client.Write([]byte("?"))
		must(t, err)
		if _, nat := receive(t, server); nat.Addr() != want || !natPorts.Contains(nat.Port()) {
			t.Errorf("the flow comes from %v, want %v", nat, want)
		}
	}
	before := dial(t, r.Client, "[2001:db8::1]:9")
	use(first)
	expect(before, first)
	use(second)
	expect(dial(t, r.Client, "[2001:db8::1]:10"), second)
	expect(before, first)
}

// TestAddSource checks which ports of a source are left out, and which sources are refused.
func TestAddSource(t *testing.T) {
	r := newRig(t, 100)
	bound := []string{"0.0.0.0:10000", "10.2.0.1:10005", "[::]:10009", "[fd00:2::1]:10002", "127.0.0.1:10003"}
	for _, addr := range bound {
		listen(t, r.Proxy, addr)
	}
	for _, c := range []struct {
		addr  string
		ports rule.PortRange
		want  string
		err   error
	}{
		{"10.2.0.1", rule.PortRange{First: 9999, Last: 10010}, "[9999 10001-10004 10006-10008 10010]", nil},
		{"10.2.0.1", rule.PortRange{First: 9999, Last: 10010}, "[9999 10001-10004 10006-10008 10010]", nil},
		{"10.2.0.1", rule.PortRange{First: 10010, Last: 10020}, "[]", ErrOverlaps},
		{"10.2.0.1", rule.PortRange{First: 10011, Last: 10012}, "[10011-10012]", nil},
		{"fd00:2::1", rule.PortRange{First: 9999, Last: 10010}, "[9999 10001 10003-10008 10010]", nil},
		{"127.0.0.1", rule.PortRange{First: 10003, Last: 10003}, "[]", ErrNoPorts},
		{"127.0.0.1", rule.PortRange{First: 10001, Last: 10010}, "[10001-10002 10004-10008 10010]", nil},
		{"::1", rule.PortRange{First: 1, Last: 30000}, "[1-9999 10001-10008 10010-30000]", nil},
	} {
		_ = r.Proxy.Do(func() error {
			got, err := r.engine.AddSource(conf.UDPSource{Addr: netip.MustParseAddr(c.addr), Ports: c.ports})
			if fmt.Sprint(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s %s: %v %v, want %s %v", c.addr, c.ports, got, err, c.want, c.err)
			}
			return nil
		})
	}
}
