package answer_test

import (
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/wire"
)

// A chain is followed so far and no further; the resolver that asked goes on.
func TestLongChain(t *testing.T) {
	m := newServer(t).askTCP(query("c1.example.test.", dns.TypeA))
	if m.Rcode != 0 || len(m.Answer) != 16 || m.Answer[15].(*dns.CNAME).Target != "c17.example.test." {
		t.Errorf("%v", m)
	}
}

// The name of the question comes back as it was written: its case is the client's check against forgery.
func TestCaseIsKept(t *testing.T) {
	m := newServer(t).ask(query("wWw.ExAmPlE.tEsT.", dns.TypeA))
	if m.Question[0].Name != "wWw.ExAmPlE.tEsT." || m.Answer[0].Header().Name != "wWw.ExAmPlE.tEsT." {
		t.Errorf("%v", m)
	}
}

// Packets that are no query get a header, or nothing at all.
func TestMalformed(t *testing.T) {
	s := newServer(t)
	good, err := query("www.example.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(at int, b byte) []byte {
		c := append([]byte(nil), good...)
		c[at] = b
		return c
	}
	for name, c := range map[string]struct {
		packet []byte
		rcode  wire.Rcode
		silent bool
	}{
		"too short":     {good[:5], 0, true},
		"a response":    {edit(2, 0x80), 0, true},
		"two questions": {edit(5, 2), wire.FormErr, false},
		"cut off":       {good[:20], wire.FormErr, false},
		"NOTIFY":        {edit(2, 4<<3), wire.NotImp, false},
		"UPDATE":        {edit(2, 5<<3), wire.NotImp, false},
	} {
		got := s.raw(c.packet, false)
		switch {
		case c.silent:
			if got != nil {
				t.Errorf("%s: answered %x", name, got)
			}
		case len(got) != wire.HeaderLen || wire.Rcode(got[3]&0xF) != c.rcode:
			t.Errorf("%s: answered %x", name, got)
		case got[0] != c.packet[0] || got[1] != c.packet[1]:
			t.Errorf("%s: another ID", name)
		case got[2]&0x80 == 0 || got[2]&0x78 != c.packet[2]&0x78:
			t.Errorf("%s: not a response, or of another opcode: %x", name, got)
		}
	}
}

// RD and CD are repeated, all other flags of a query are not.
func TestFlags(t *testing.T) {
	s := newServer(t)
	q := query("www.example.test.", dns.TypeA)
	q.RecursionDesired, q.CheckingDisabled, q.AuthenticatedData = true, true, true
	q.Zero, q.Truncated, q.RecursionAvailable = true, true, true
	m := s.ask(q)
	if !m.RecursionDesired || !m.CheckingDisabled {
		t.Errorf("not repeated: %v", m.MsgHdr)
	}
	if m.AuthenticatedData || m.Zero || m.Truncated || m.RecursionAvailable {
		t.Errorf("repeated: %v", m.MsgHdr)
	}
}

// What a response is about, for rate limiting: a client that varies what it asks must not escape.
func TestImputedNames(t *testing.T) {
	s := newServer(t)
	for _, c := range []struct {
		name    string
		kind    uint16
		outcome answer.Outcome
		about   string
	}{
		{"www.example.test.", dns.TypeA, answer.Positive, "www.example.test."},
		{"x.y.wild.example.test.", dns.TypeA, answer.Positive, "*.wild.example.test."},
		{"x.y.wild.example.test.", dns.TypeTXT, answer.NoData, "*.wild.example.test."},
		{"none.example.test.", dns.TypeA, answer.NoName, "example.test."},
		{"a.b.c.sub.example.test.", dns.TypeA, answer.Delegated, "sub.example.test."},
		{"www.example.test.", dns.TypeTXT, answer.NoData, "www.example.test."},
		{"example.org.", dns.TypeA, answer.Error, ""},
	} {
		s.ask(query(c.name, c.kind))
		about := ""
		if s.last.Name != nil {
			about = wire.Text(s.last.Name)
		}
		if s.last.Outcome != c.outcome || about != c.about {
			t.Errorf("%s: outcome %d about %q", c.name, s.last.Outcome, about)
		}
	}
}
