package answer_test

import (
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/answer"
)

var hotQueries = []struct {
	label string
	name  string
	kind  uint16
	edns  bool
}{
	{"exact", "www.example.test.", dns.TypeA, false},
	{"exact-edns", "www.example.test.", dns.TypeAAAA, true},
	{"wildcard", "a.b.wild.example.test.", dns.TypeA, true},
	{"nxdomain", "none.example.test.", dns.TypeA, true},
	{"nodata", "www.example.test.", dns.TypeTXT, true},
	{"referral", "x.y.sub.example.test.", dns.TypeA, true},
	{"cname", "alias.example.test.", dns.TypeA, true},
	{"chain", "c30.example.test.", dns.TypeA, true},
	{"dname", "x.dn.example.test.", dns.TypeA, true},
	{"truncated", "big.example.test.", dns.TypeTXT, true},
	{"refused", "www.example.org.", dns.TypeA, true},
}

func (s *server) request(name string, kind uint16, edns bool) answer.Request {
	q := query(name, kind)
	if edns {
		withEDNS(q, 1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"})
	}
	packet, err := q.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Request{Packet: packet, Client: testClient, Now: testTime, Zones: s.zones}
}

// Nothing that a query can ask for makes the server allocate.
func TestAnswerAllocatesNothing(t *testing.T) {
	s := newServer(t)
	for _, c := range hotQueries {
		req := s.request(c.name, c.kind, c.edns)
		if n := testing.AllocsPerRun(200, func() { s.responder.Answer(req, s.out) }); n != 0 {
			t.Errorf("%s: %v allocations", c.label, n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	s := newServer(b)
	for _, c := range hotQueries {
		b.Run(c.label, func(b *testing.B) {
			req := s.request(c.name, c.kind, c.edns)
			b.ReportAllocs()
			for b.Loop() {
				s.responder.Answer(req, s.out)
			}
		})
	}
}
