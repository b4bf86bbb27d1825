package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// TestDNSMetrics makes a known amount of queries and finds it in /metrics.
func TestDNSMetrics(t *testing.T) {
	w := newWorld(t)
	w.run(prefixes + "[[dns]]\nname = \"ns\"\nzones = [\"" + w.file("example.zone", zone()) + "\"]\n")
	ask := func(network string, to netip.Addr, name string, kind uint16) {
		t.Helper()
		if _, err := exchangeDNS(w.Client, network, to, new(dns.Msg).SetQuestion(name, kind)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range families {
		to := f.address(w.rng)
		for range 3 {
			ask("udp", to, "www.example.", dns.TypeA)
		}
		ask("udp", to, "none.example.", dns.TypeAAAA)
		ask("udp", to, "elsewhere.test.", dns.TypeMX)
		ask("udp", to, "big.example.", dns.TypeTXT)
		ask("tcp", to, "big.example.", dns.TypeTXT)
	}
	text := w.metrics("/metrics")
	for _, want := range []string{
		`anyport_dns_queries_total{server="ns",type="A"} 6`,
		`anyport_dns_queries_total{server="ns",type="AAAA"} 2`,
		`anyport_dns_queries_total{server="ns",type="MX"} 2`,
		`anyport_dns_queries_total{server="ns",type="TXT"} 4`,
		`anyport_dns_responses_total{rcode="NOERROR",server="ns"} 10`,
		`anyport_dns_responses_total{rcode="NXDOMAIN",server="ns"} 2`,
		`anyport_dns_responses_total{rcode="REFUSED",server="ns"} 2`,
		`anyport_dns_messages_total{server="ns",transport="udp4"} 6`,
		`anyport_dns_messages_total{server="ns",transport="udp6"} 6`,
		`anyport_dns_messages_total{server="ns",transport="tcp4"} 1`,
		`anyport_dns_messages_total{server="ns",transport="tcp6"} 1`,
		`anyport_dns_truncated_total{server="ns"} 2`,
		`anyport_dns_zones{server="ns"} 1`,
		`anyport_dns_rate_limited_total{server="ns"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	if t.Failed() {
		t.Log(ownMetrics(text))
	}
}

// TestDNSRateLimit asks the same from one client more often than the limit allows: of the answers over it every second
// one comes, truncated, and the metrics say how many there were.
func TestDNSRateLimit(t *testing.T) {
	w := newWorld(t)
	const limit, queries = 20, 400
	path := w.file("example.zone", hostZone(1))
	w.run(prefixes + fmt.Sprintf("[[dns]]\nrate_limit = %d\nslip = 2\nzones = [%q]\n", limit, path))
	for _, f := range families {
		whole, truncated := askOften(t, w, f.address(w.rng), queries)
		over := queries - whole
		if whole < limit || over < queries/2 || truncated < over/2-1 || truncated > over/2+1 {
			t.Errorf("%s: of %d queries %d are answered whole and %d truncated", f.name, queries, whole, truncated)
		}
	}
	if got, err := dnsVersion(w, "tcp", families[0].prefix.Addr()); err != nil || got != "1" {
		t.Errorf("over TCP: %q, %v", got, err)
	}
}

// askOften sends n like queries and returns how many whole and how many truncated answers come, and that the metrics
// have the rest.
func askOften(t *testing.T, w *world, to netip.Addr, n int) (whole, truncated int) {
	t.Helper()
	before := limited(t, w)
	c, err := packetConn(w.Client)
	w.must(err)
	defer c.Close()
	for i := range n {
		_, err := c.WriteToUDPAddrPort(hostQuery(uint16(i), 7), withPort(to, 53))
		w.must(err)
	}
	for buf := make([]byte, 4096); ; {
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		size, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			break
		}
		m := new(dns.Msg)
		w.must(m.Unpack(buf[:size]))
		if m.Truncated {
			truncated++
		} else {
			whole++
		}
	}
	if got := limited(t, w) - before; got != n-whole {
		t.Errorf("/metrics counts %d as limited, %d were", got, n-whole)
	}
	return whole, truncated
}

// limited returns the number of answers that the metrics call rate limited.
func limited(t *testing.T, w *world) (n int) {
	t.Helper()
	for line := range strings.Lines(w.metrics("/metrics")) {
		if strings.HasPrefix(line, "anyport_dns_rate_limited_total{") {
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &n)
			w.must(err)
			return n
		}
	}
	t.Error("/metrics has no anyport_dns_rate_limited_total")
	return 0
}
