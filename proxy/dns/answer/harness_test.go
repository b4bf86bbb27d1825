package answer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/cookie"
	"anyport/proxy/dns/zone"
)

var testSecret = cookie.Secret{1, 2, 3}

// server is a responder over the two zones in testdata.
type server struct {
	t         testing.TB
	responder *answer.Responder
	zones     *zone.Zones
	out       []byte
	last      answer.Result
}

func newServer(t testing.TB) *server {
	t.Helper()
	zones := []*zone.Zone{loadZone(t, "testdata/sample.zone"), loadZone(t, "testdata/elsewhere.zone")}
	return &server{
		t: t, zones: zone.NewZones(zones), out: make([]byte, dns.MaxMsgSize),
		responder: answer.NewResponder(&answer.Config{
			UDPSize: 1232, NSID: []byte("node-1"), Chaos: answer.NewChaos("anyport", "node-1.example"),
			Cookies: cookie.NewJar([]cookie.Secret{testSecret}),
		}),
	}
}

var testClient = netip.MustParseAddr("192.0.2.250")

const testTime = 1_800_000_000

// raw answers a packet; nil is silence.
func (s *server) raw(packet []byte, tcp bool) []byte {
	s.last = s.responder.Answer(answer.Request{
		Packet: packet, Client: testClient, TCP: tcp, Now: testTime, Zones: s.zones,
	}, s.out)
	if s.last.Size == 0 {
		return nil
	}
	return s.out[:s.last.Size]
}

// ask answers a query over UDP, checking what is true of every response.
func (s *server) ask(q *dns.Msg) *dns.Msg {
	s.t.Helper()
	packet, err := q.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.parse(q, s.raw(packet, false))
}

func (s *server) askTCP(q *dns.Msg) *dns.Msg {
	s.t.Helper()
	packet, err := q.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.parse(q, s.raw(packet, true))
}

func (s *server) parse(q *dns.Msg, response []byte) *dns.Msg {
	s.t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		s.t.Fatalf("%v: unpack: %v", q.Question, err)
	}
	if m.Id != q.Id || !m.Response || m.Opcode != q.Opcode || m.RecursionDesired != q.RecursionDesired {
		s.t.Errorf("%v: header %v", q.Question, m.MsgHdr)
	}
	if len(m.Question) == 1 && m.Question[0] != q.Question[0] {
		s.t.Errorf("asked %v, question %v", q.Question[0], m.Question[0])
	}
	return m
}

func loadZone(t testing.TB, path string) *zone.Zone {
	t.Helper()
	z, err := zone.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func query(name string, kind uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, kind)
	q.RecursionDesired = false
	return q
}

// text joins the records of a section, without white space.
func text(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return strings.Join(out, "; ")
}
