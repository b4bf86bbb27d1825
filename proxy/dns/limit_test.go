package dns

import (
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"

	"anyport/proxy/dns/ratelimit"
)

// burstOf sends n like queries at once and returns the whole and the truncated responses. The last query is of another
// kind, so that its response tells that all others have come or never will.
func burstOf(t *testing.T, s *Server, n int, change func(*dns.Msg)) (whole, truncated int) {
	t.Helper()
	conn, err := net.Dial("udp", s.udpAddress())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	send := func(q *dns.Msg) {
		change(q)
		packet, err := q.Pack()
		must(t, err)
		_, err = conn.Write(packet)
		must(t, err)
	}
	for range n {
		send(question("www.example.test.", dns.TypeA))
	}
	send(question("ns.example.test.", dns.TypeAAAA))
	buf := make([]byte, 4096)
	for {
		size, err := conn.Read(buf)
		must(t, err)
		m := new(dns.Msg)
		must(t, m.Unpack(buf[:size]))
		switch {
		case m.Question[0].Qtype == dns.TypeAAAA:
			return whole, truncated
		case m.Truncated:
			truncated++
		default:
			whole++
		}
	}
}

// Of like responses to one client, those past the limit are dropped or slip through truncated.
func TestRateLimit(t *testing.T) {
	const limit, queries = 10, 100
	s := start(t, Options{RateLimit: ratelimit.Options{PerSecond: limit, Slip: 2}, Workers: 1})
	whole, truncated := burstOf(t, s, queries, func(*dns.Msg) {})
	n := s.Snapshot()
	if whole < limit || whole > queries/2 {
		t.Errorf("%d of %d responses were sent", whole, queries)
	}
	held := queries - whole
	if truncated != held/2 || n.Limited != uint64(held) || n.Drops["rate_limited"] != uint64(held-truncated) {
		t.Errorf("%d truncated, %d limited, %v dropped, of %d held back", truncated, n.Limited, n.Drops, held)
	}
}

// A client that shows a valid cookie has proved its address, and so has one that uses TCP.
func TestTrustedClientsAreNotLimited(t *testing.T) {
	s := start(t, Options{RateLimit: ratelimit.Options{PerSecond: 1}, Workers: 1})
	withCookie := func(value string) func(*dns.Msg) {
		return func(q *dns.Msg) {
			q.SetEdns0(1232, false)
			q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: value}}
		}
	}
	q := question("version.test.", dns.TypeA)
	withCookie("2464c4abcf10c957")(q)
	full := exchange(t, "udp", s.udpAddress(), q).IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	if whole, _ := burstOf(t, s, 50, withCookie(full)); whole != 50 {
		t.Errorf("with a cookie: %d of 50", whole)
	}
	for range 50 {
		if m := exchange(t, "tcp", s.tcpAddress(), question("www.example.test.", dns.TypeA)); m.Truncated {
			t.Fatal("limited over TCP")
		}
	}
}
