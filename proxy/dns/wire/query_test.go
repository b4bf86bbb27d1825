package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// packet returns a query as miekg/dns makes it, changed.
func packet(t testing.TB, change func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("www.Example.test.", dns.TypeA)
	m.Id = 0x1234
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withOPT(options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(1400, true)
		m.IsEdns0().Option = options
	}
}

func TestParseQuery(t *testing.T) {
	b := packet(t, withOPT(
		&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("unknown")},
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"},
	))
	var q Query
	if v := q.Parse(b); v != Answer {
		t.Fatalf("verdict %d, %v", v, q.Rcode)
	}
	if q.ID != 0x1234 || q.Flags != QR|RD || q.Type != TypeA || q.Class != ClassIN {
		t.Errorf("%+v", q)
	}
	if q.Name.String() != "www.example.test." {
		t.Errorf("name %s", &q.Name)
	}
	if !bytes.Equal(q.Question, b[12:33+1]) || !bytes.Contains(q.Question, []byte("Example")) {
		t.Errorf("question %q", q.Question)
	}
	e := q.EDNS
	if !e.Present || e.Version != 0 || !e.DO || e.Size != 1400 || !e.NSID {
		t.Errorf("%+v", e)
	}
	if hex.EncodeToString(e.Cookie) != "2464c4abcf10c957" {
		t.Errorf("cookie %x", e.Cookie)
	}
}

// What becomes of packets that are no plain query, each with its reason in an RFC.
func TestParseVerdicts(t *testing.T) {
	good := packet(t, nil)
	edit := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	cookie := func(size int) dns.EDNS0 {
		return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: strings.Repeat("00", size)}
	}
	soa, err := dns.NewRR("example.test. 0 IN SOA . . 1 0 0 0 0")
	if err != nil {
		t.Fatal(err)
	}
	ixfr := func(m *dns.Msg) { m.Question[0].Qtype, m.Ns = dns.TypeIXFR, []dns.RR{soa} }
	twice := func(m *dns.Msg) { withOPT()(m); m.Extra = append(m.Extra, m.Extra[0]) }
	named := func(m *dns.Msg) { withOPT()(m); m.Extra[0].Header().Name = "a." }
	for _, c := range []struct {
		name    string
		packet  []byte
		verdict Verdict
		rcode   Rcode
	}{
		{"a query", good, Answer, 0},
		{"nothing", nil, Silent, 0},
		{"less than a header", good[:11], Silent, 0},
		{"a response", edit(2, 0x80), Silent, 0},
		{"a response of another opcode", edit(2, 0xA0), Silent, 0},
		{"a header alone", edit(4, 0, 0)[:12], Reject, FormErr},
		{"a NOTIFY", edit(2, 4<<3), Reject, NotImp},
		{"an UPDATE", edit(2, 5<<3), Reject, NotImp},
		{"a DSO request (RFC 8490)", edit(2, 6<<3, 0, 0, 0)[:12], Reject, NotImp},
		{"an inverse query", edit(2, 1<<3), Reject, NotImp},
		{"an unassigned opcode", edit(2, 15<<3), Reject, NotImp},
		{"AA, TC, RA, AD, CD and Z set", edit(2, 0x07, 0xF0), Answer, 0},
		{"a response code set", edit(3, 0x0F), Answer, 0},
		{"two questions (RFC 9619)", edit(5, 2), Reject, FormErr},
		{"65535 questions", edit(4, 0xFF, 0xFF), Reject, FormErr},
		{"an answer", edit(7, 1), Reject, FormErr},
		{"an authority record", edit(9, 1), Reject, FormErr},
		{"an additional record that is not there", edit(11, 1), Reject, FormErr},
		{"no question", edit(4, 0, 0), Reject, FormErr},
		{"a question cut off in its name", good[:20], Reject, FormErr},
		{"a question cut off in its class", good[:len(good)-1], Reject, FormErr},
		{"bytes behind the question", append(bytes.Clone(good), 0), Reject, FormErr},
		{"a compressed question", edit(12, 0xC0, 12), Reject, FormErr},
		{"a label of an unknown kind", edit(12, 0x41), Reject, FormErr},
		{"an IXFR with its SOA", packet(t, ixfr), Answer, 0},
		{"a record that is not OPT", packet(t, func(m *dns.Msg) { m.Extra = []dns.RR{soa} }), Answer, 0},
		{"EDNS", packet(t, withOPT()), Answer, 0},
		{"EDNS twice (RFC 6891 section 6.1.1)", packet(t, twice), Reject, FormErr},
		{"OPT below a name", packet(t, named), Reject, FormErr},
		{"bytes behind OPT", append(packet(t, withOPT()), 1), Reject, FormErr},
		{"a record cut off", packet(t, withOPT())[:40], Reject, FormErr},
		{"a client cookie", packet(t, withOPT(cookie(8))), Answer, 0},
		{"a cookie without a question", packet(t, func(m *dns.Msg) { withOPT(cookie(8))(m); m.Question = nil }), Answer, 0},
		{"EDNS without a question", packet(t, func(m *dns.Msg) { withOPT()(m); m.Question = nil }), Reject, FormErr},
		{"both cookies", packet(t, withOPT(cookie(24))), Answer, 0},
		{"the longest cookie", packet(t, withOPT(cookie(40))), Answer, 0},
		{"an empty cookie (RFC 7873 section 5.2.2)", packet(t, withOPT(cookie(0))), Reject, FormErr},
		{"a cookie of 7 bytes", packet(t, withOPT(cookie(7))), Reject, FormErr},
		{"a cookie of 15 bytes", packet(t, withOPT(cookie(15))), Reject, FormErr},
		{"a cookie of 41 bytes", packet(t, withOPT(cookie(41))), Reject, FormErr},
	} {
		var q Query
		if v := q.Parse(c.packet); v != c.verdict || v == Reject && q.Rcode != c.rcode {
			t.Errorf("%s: verdict %d, %v", c.name, v, q.Rcode)
		} else if v == Reject && q.Question != nil {
			t.Errorf("%s: the question is repeated", c.name)
		}
	}
}

// Options that do not fill the record exactly make it malformed.
func TestParseOptions(t *testing.T) {
	for options, want := range map[string]bool{
		"": true, "\x00\x03\x00\x00": true, "\x00\x03": false, "\x00\x03\x00\x01": false,
		"\x00\x03\x00\x00\x00": false, "\xFF\xFF\x00\x02ab": true, "\xFF\xFF\x00\x03ab": false,
	} {
		var e EDNS
		fixed := []byte{0, 41, 5, 0, 0, 0, 0, 0, 0, byte(len(options))}
		if got := e.parse(fixed, []byte(options)); got != want {
			t.Errorf("%q: %v", options, got)
		}
	}
}

func TestPutOPT(t *testing.T) {
	o := OPT{Size: 1232, DO: true, Rcode: BadVers, NSID: []byte("node-1"), Cookie: bytes.Repeat([]byte{0xAB}, 24)}
	b := make([]byte, o.Len())
	o.Put(b)
	rr, end, err := dns.UnpackRR(b, 0)
	if err != nil || end != len(b) {
		t.Fatalf("end %d, %v", end, err)
	}
	got := rr.(*dns.OPT)
	if got.UDPSize() != 1232 || !got.Do() || got.Version() != 0 || got.ExtendedRcode()&0xFF0 != int(BadVers)&0xFF0 {
		t.Errorf("%v", got)
	}
	if len(got.Option) != 2 || got.Option[0].String() != hex.EncodeToString([]byte("node-1")) ||
		got.Option[1].String() != strings.Repeat("ab", 24) {
		t.Errorf("%v", got.Option)
	}
}
