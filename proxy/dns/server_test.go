package dns

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// exchange asks one server over "udp" or "tcp".
func exchange(t testing.TB, network, server string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, UDPSize: 4096}
	m, _, err := c.Exchange(q, server)
	if err != nil {
		t.Fatalf("ask %s over %s: %v", server, network, err)
	}
	return m
}

func question(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestAnswersOverBothTransports(t *testing.T) {
	s := start(t, Options{})
	for network, server := range map[string]string{"udp": s.udpAddress(), "tcp": s.tcpAddress()} {
		m := exchange(t, network, server, question("alias.example.test.", dns.TypeA))
		if len(m.Answer) != 2 || m.Answer[1].(*dns.A).A.String() != "192.0.2.80" {
			t.Errorf("%s: %v", network, m)
		}
	}
}

// A response that does not fit is truncated over UDP, to what the client takes, and whole over TCP.
func TestTruncation(t *testing.T) {
	s := start(t, Options{UDPSize: 2000})
	for _, size := range []uint16{0, 100, 512, 1400, 4096} {
		q := question("big.example.test.", dns.TypeTXT)
		if size > 0 {
			q.SetEdns0(size, false)
		}
		m := exchange(t, "udp", s.udpAddress(), q)
		limit := min(max(int(size), 512), 2000)
		if !m.Truncated || len(m.Answer) != 0 || m.Len() > limit {
			t.Errorf("size %d: TC %v, %d records, %d bytes", size, m.Truncated, len(m.Answer), m.Len())
		}
	}
	m := exchange(t, "tcp", s.tcpAddress(), question("big.example.test.", dns.TypeTXT))
	if m.Truncated || len(m.Answer) != 100 {
		t.Errorf("TCP: TC %v, %d records", m.Truncated, len(m.Answer))
	}
}

func TestNoZones(t *testing.T) {
	path := writeZone(t, t.TempDir(), "bad.zone", "@ SOA\n")
	_, err := New(Options{Home: loopback, Zones: []string{path}})
	if !errors.Is(err, ErrNoZones) || !strings.Contains(err.Error(), path+":1: ") {
		t.Errorf("New returned %v", err)
	}
}

func TestSnapshot(t *testing.T) {
	s := start(t, Options{})
	exchange(t, "udp", s.udpAddress(), question("www.example.test.", dns.TypeA))
	exchange(t, "udp", s.udpAddress(), question("none.example.test.", dns.TypeAAAA))
	exchange(t, "udp", s.udpAddress(), question("big.example.test.", dns.TypeTXT))
	exchange(t, "tcp", s.tcpAddress(), question("www.example.test.", 4242))
	n := s.Snapshot()
	for name, ok := range map[string]bool{
		"types":      n.Queries["A"] == 1 && n.Queries["AAAA"] == 1 && n.Queries["TXT"] == 1 && n.Queries["other"] == 1,
		"rcodes":     n.Responses["NOERROR"] == 3 && n.Responses["NXDOMAIN"] == 1,
		"transports": n.Transports["udp4"] == 3 && n.Transports["tcp4"] == 1,
		"truncated":  n.Truncated == 1,
		"zones":      n.Zones == 1,
	} {
		if !ok {
			t.Errorf("%s: %+v", name, n)
		}
	}
}
