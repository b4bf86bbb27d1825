package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"anyport/bench/netlab"
)

// spread returns n addresses of a family's prefix: of IPv4 the first ones, of IPv6 one in each of as many networks.
func (f family) spread(n int, rng *rand.Rand) []netip.Addr {
	list := make([]netip.Addr, n)
	if f.prefix.Addr().Is4() {
		for i, a := 0, f.prefix.Addr(); i < n; i, a = i+1, a.Next() {
			list[i] = a
		}
		return list
	}
	for i := range list {
		b := f.prefix.Addr().As16()
		subnet := i * 16 // of the 2^16 networks of a /48
		b[6], b[7] = byte(subnet>>8), byte(subnet)
		for j := 8; j < 16; j++ {
			b[j] = byte(rng.Uint32())
		}
		list[i] = netip.AddrFrom16(b)
	}
	return list
}

// everyAddress is the number of addresses of a /20.
const everyAddress = 4096

// TestDNSOnEveryAddress asks 106,496 queries on all addresses of the IPv4 prefix and as many of the IPv6 one, over UDP
// and TCP. Every answer must be right and come from the address that was asked; two sockets are all that the server
// has.
func TestDNSOnEveryAddress(t *testing.T) {
	w := newWorld(t)
	d := w.run(prefixes + "[[dns]]\nzones = [\"" + w.file("example.zone", hostZone(1)) + "\"]\n")
	before := w.checkDNSSockets(d)
	for _, f := range families {
		addresses := f.spread(everyAddress, w.rng)
		t.Run(f.name+" UDP", func(t *testing.T) {
			for range 10 {
				w.rng.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
				if err := askAddresses(w.Client, addresses, w.rng); err != nil {
					t.Fatal(err)
				}
			}
		})
		t.Run(f.name+" TCP", func(t *testing.T) {
			if err := askInParts(w, addresses, 3); err != nil {
				t.Fatal(err)
			}
		})
	}
	waitFor(t, "the connections to be closed", func() bool { return w.checkDNSSockets(d) <= before })
	for _, want := range []string{
		`anyport_dns_messages_total{server="dns",transport="udp4"} 40960`,
		`anyport_dns_messages_total{server="dns",transport="udp6"} 40960`,
		`anyport_dns_messages_total{server="dns",transport="tcp4"} 12288`,
		`anyport_dns_messages_total{server="dns",transport="tcp6"} 12288`,
		`anyport_dns_responses_total{rcode="NOERROR",server="dns"} 106496`,
	} {
		if !strings.Contains(w.metrics("/metrics"), want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// askInParts is askTCP from several clients at once.
func askInParts(w *world, addresses []netip.Addr, queries int) error {
	const clients = 8
	errs := make([]error, clients)
	var group sync.WaitGroup
	for i := range clients {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		part := addresses[i*len(addresses)/clients : (i+1)*len(addresses)/clients]
		group.Go(func() { errs[i] = askTCP(w.Client, part, queries, rng) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// checkDNSSockets checks that ss shows one UDP and one TCP socket on port 53, and returns how many descriptors the
// daemon has.
func (w *world) checkDNSSockets(d *daemon) int {
	w.t.Helper()
	for _, kind := range []string{"-u", "-t"} {
		out, errs, status := runShort(w.t, w.Proxy.Command("ss", "-H", "-n", "-l", kind, "sport = :53"))
		if n := strings.Count(out, "\n"); status != 0 || n != 1 || !strings.Contains(out, "127.53.") {
			w.t.Errorf("ss %s shows %d sockets, want 1:\n%s%s", kind, n, out, errs)
		}
	}
	return descriptors(w.t, d.Pid())
}

// TestDNSBesideWildcardDaemon has another daemon hold port 53 of all addresses, over UDP and TCP.
func TestDNSBesideWildcardDaemon(t *testing.T) {
	netlab.RequireRoot(t)
	w := newWorld(t)
	w.wildcardDaemons("bystander", 53)
	w.run(prefixes + "[[dns]]\nzones = [\"" + w.file("example.zone", hostZone(1)) + "\"]\n")
	for _, f := range families {
		addresses := f.spread(everyAddress, w.rng)
		if err := errors.Join(askAddresses(w.Client, addresses, w.rng), askInParts(w, addresses[:200], 3)); err != nil {
			t.Error(err)
		}
		checkBystander(t, w, withPort(f.proxy, 53))
	}
}

// TestDNSBesideRoutes has two name servers, a route on the same port, and a route on another port, on disjoint parts of
// the prefixes and on the whole of them.
func TestDNSBesideRoutes(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("proxied"))
	one, two := w.file("one.zone", hostZone(1)), w.file("two.zone", hostZone(2))
	w.run(prefixes + fmt.Sprintf(`
[[dns]]
name = "one"
prefix = ["198.18.1.0/24", "2001:db8:0:1::/64"]
zones = [%q]
[[dns]]
name = "two"
prefix = ["198.18.2.0/24", "2001:db8:0:2::/64"]
zones = [%q]
[[route]]
name = "proxied"
prefix = ["198.18.3.0/24", "2001:db8:0:3::/64"]
ports = "53"
upstream = ["10.2.0.2:7000"]
[[route]]
name = "web"
ports = "80"
upstream = ["10.2.0.2:7000"]
`, one, two))
	for _, parts := range [][3]string{
		{"198.18.1.77", "198.18.2.77", "198.18.3.77"}, {"2001:db8:0:1::77", "2001:db8:0:2::77", "2001:db8:0:3::77"},
	} {
		for i, version := range []string{"1", "2"} {
			addr := netip.MustParseAddr(parts[i])
			for _, network := range []string{"udp", "tcp"} {
				if got, err := dnsVersion(w, network, addr); err != nil || got != version {
					t.Errorf("%s over %s has version %q of the zone, %v; want %s", addr, network, got, err, version)
				}
			}
			checkGreeting(t, w, withPort(addr, 80), "proxied")
		}
		checkGreeting(t, w, withPort(netip.MustParseAddr(parts[2]), 53), "proxied")
	}
}
