package answer_test

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/wire"
)

// FuzzAnswer gives the server packets of any kind. Whatever comes, it must not crash, must not answer a response, must
// stay within what the client takes, and what it says must be a message that miekg/dns can read.
func FuzzAnswer(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	s := newServer(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		s.t = t
		for _, tcp := range []bool{false, true} {
			response := s.raw(packet, tcp)
			if response == nil {
				if len(packet) >= wire.HeaderLen && packet[2]&0x80 == 0 {
					t.Fatal("a request got no response")
				}
				continue
			}
			checkResponse(t, packet, response, tcp)
		}
	})
}

func checkResponse(t *testing.T, packet, response []byte, tcp bool) {
	if packet[2]&0x80 != 0 {
		t.Fatal("a response got a response")
	}
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		t.Fatalf("response %x: %v", response, err)
	}
	if !m.Response || !bytes.Equal(packet[:2], response[:2]) {
		t.Fatalf("header %x", response[:wire.HeaderLen])
	}
	if len(m.Question) > 0 {
		question := response[wire.HeaderLen:][:questionLen(response)]
		if !bytes.HasPrefix(packet[wire.HeaderLen:], question) {
			t.Fatal("another question")
		}
	}
	limit := wire.MinUDP
	var q wire.Query
	if q.Parse(packet) == wire.Answer && q.EDNS.Present {
		limit = min(max(int(q.EDNS.Size), limit), 1232)
	}
	if !tcp && len(response) > limit {
		t.Fatalf("%d bytes to a client that takes %d", len(response), limit)
	}
}

// questionLen returns the length of the question in a response of ours, whose name is never compressed.
func questionLen(response []byte) int {
	p := wire.HeaderLen
	for response[p] != 0 {
		p += 1 + int(response[p])
	}
	return p + 1 + 4 - wire.HeaderLen
}

// fuzzSeeds returns packets that reach every room of this package.
func fuzzSeeds(t testing.TB) (seeds [][]byte) {
	add := func(q *dns.Msg) {
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	for _, name := range []string{
		"www.example.test.", "a.wild.example.test.", "alias.example.test.", "out.example.test.", "x.sub.example.test.",
		"x.dn.example.test.", "none.example.test.", "c1.example.test.", "loop1.example.test.", "wide.example.test.",
		"big.example.test.", ".", "version.bind.",
	} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeNS, dns.TypeANY, dns.TypeDS} {
			add(query(name, kind))
			add(withEDNS(query(name, kind), 1400, &dns.EDNS0_NSID{Code: dns.EDNS0NSID},
				&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"}))
		}
	}
	chaos := query("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	add(chaos)
	update := new(dns.Msg).SetUpdate("example.test.")
	add(update)
	return append(seeds, nil, []byte{0}, make([]byte, 12), bytes.Repeat([]byte{0xC0}, 40))
}
