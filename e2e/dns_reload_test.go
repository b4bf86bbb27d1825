package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// dnsVersion asks an address for the version of its hostZone.
func dnsVersion(w *world, network string, to netip.Addr) (string, error) {
	m, err := exchangeDNS(w.Client, network, to, new(dns.Msg).SetQuestion("version.example.", dns.TypeTXT))
	if err != nil {
		return "", err
	}
	if len(m.Answer) != 1 {
		return "", fmt.Errorf("no version in\n%s", m)
	}
	return m.Answer[0].(*dns.TXT).Txt[0], nil
}

// dnsHalf and dnsWhole serve half of each prefix, and all of it.
const (
	dnsHalf  = `prefix = ["198.18.0.0/21", "2001:db8::/49"]`
	dnsWhole = `prefix = ["198.18.0.0/20", "2001:db8::/48"]`
)

// TestDNSReloadUnderLoad changes the prefix and the zone by SIGHUP, and breaks the zone, while queries over UDP and TCP
// go on in the half that is served throughout. No query may be lost or answered wrongly.
func TestDNSReloadUnderLoad(t *testing.T) {
	w := newWorld(t)
	path := w.file("example.zone", hostZone(0))
	config := func(prefix string) string { return prefixes + fmt.Sprintf("[[dns]]\n%s\nzones = [%q]\n", prefix, path) }
	d := w.run(config(dnsHalf))
	load := startDNSLoad(w)
	others := []netip.Addr{netip.MustParseAddr("198.18.15.1"), netip.MustParseAddr("2001:db8:0:ffff::1")}
	for version := 1; version <= 6; version++ {
		before := load.rounds.Load()
		w.file("example.zone", hostZone(version))
		if version%2 == 0 {
			d.reload(config(dnsHalf))
		} else {
			d.reload(config(dnsWhole))
		}
		waitFor(t, "the new zone", func() bool {
			got, err := dnsVersion(w, "udp", families[version%2].prefix.Addr())
			return err == nil && got == fmt.Sprint(version)
		})
		for _, addr := range others {
			waitFor(t, fmt.Sprintf("%s to be served or not, by version %d", addr, version), func() bool {
				got, err := dnsVersion(w, "tcp", addr)
				return version%2 == 1 && got == fmt.Sprint(version) || version%2 == 0 && isRefused(err)
			})
		}
		waitFor(t, "the load to go on", func() bool { return load.rounds.Load() > before+8 })
	}
	w.file("example.zone", hostZone(7)+"host0 A nonsense\n")
	d.reload(config(dnsHalf))
	fault := fmt.Sprintf("%s:%d:", path, 1+strings.Count(hostZone(7), "\n"))
	waitFor(t, "the log to say "+fault, func() bool { return strings.Contains(d.Output(), fault) })
	if got, err := dnsVersion(w, "udp", families[0].prefix.Addr()); got != "6" || err != nil {
		t.Errorf("with a broken zone file the zone has version %q, %v; want the old one", got, err)
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
	if out, errs, status := w.anyport("check", "-c", d.config); status != 1 || !strings.Contains(errs, fault) {
		t.Errorf("anyport check of the broken zone ends with %d: %s%s", status, out, errs)
	}
}

// dnsLoad is queries of both families and transports that go on until end.
type dnsLoad struct {
	stop    atomic.Bool
	rounds  atomic.Int64
	results []chan error
}

func startDNSLoad(w *world) *dnsLoad {
	l := new(dnsLoad)
	for _, f := range families {
		addresses := f.spread(everyAddress/2, w.rng) // the half that stays
		for _, tcp := range []bool{false, true} {
			result, rng := make(chan error, 1), rand.New(rand.NewPCG(w.rng.Uint64(), 0))
			l.results = append(l.results, result)
			go func() { result <- l.ask(w, addresses, tcp, rng) }()
		}
	}
	return l
}

func (l *dnsLoad) ask(w *world, addresses []netip.Addr, tcp bool, rng *rand.Rand) error {
	for !l.stop.Load() {
		from := rng.IntN(len(addresses) - 100)
		var err error
		if tcp {
			err = askTCP(w.Client, addresses[from:from+10], 3, rng)
		} else {
			err = askAddresses(w.Client, addresses[from:from+100], rng)
		}
		if err != nil {
			return err
		}
		l.rounds.Add(1)
	}
	return nil
}

// end stops the load and returns what went wrong.
func (l *dnsLoad) end() error {
	l.stop.Store(true)
	var errs []error
	for _, r := range l.results {
		errs = append(errs, <-r)
	}
	return errors.Join(errs...)
}
