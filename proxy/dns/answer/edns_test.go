package answer_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func withEDNS(q *dns.Msg, size uint16, options ...dns.EDNS0) *dns.Msg {
	q.SetEdns0(size, false)
	q.IsEdns0().Option = options
	return q
}

// RFC 6891: an OPT record is answered with one, and only then; unknown options are ignored.
func TestEDNS(t *testing.T) {
	s := newServer(t)
	if m := s.ask(query("www.example.test.", dns.TypeA)); m.IsEdns0() != nil {
		t.Error("OPT to a client without EDNS")
	}
	q := withEDNS(query("www.example.test.", dns.TypeA), 4096, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
	m := s.ask(q)
	o := m.IsEdns0()
	if o == nil || o.UDPSize() != 1232 || o.Version() != 0 || o.Do() || len(o.Option) != 0 || len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	q.IsEdns0().SetDo()
	if o := s.ask(q).IsEdns0(); o == nil || !o.Do() {
		t.Errorf("DO was not repeated: %v", o)
	}
	if m := s.ask(withEDNS(query("example.org.", dns.TypeA), 1232)); m.IsEdns0() == nil || m.Rcode != dns.RcodeRefused {
		t.Errorf("%v", m)
	}
}

// RFC 6891 section 6.1.3: another version gets BADVERS and no answer.
func TestBadVersion(t *testing.T) {
	s := newServer(t)
	q := withEDNS(query("www.example.test.", dns.TypeA), 4096)
	q.IsEdns0().SetVersion(1)
	m := s.ask(q)
	if m.Rcode != dns.RcodeBadVers || m.IsEdns0().Version() != 0 || len(m.Answer) != 0 || len(m.Question) != 1 {
		t.Errorf("%v", m)
	}
}

// RFC 5001: the identifier, if it is asked for.
func TestNSID(t *testing.T) {
	m := newServer(t).ask(withEDNS(query("www.example.test.", dns.TypeA), 4096, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}))
	o := m.IsEdns0().Option
	if len(o) != 1 || o[0].(*dns.EDNS0_NSID).Nsid != hex.EncodeToString([]byte("node-1")) {
		t.Errorf("%v", o)
	}
}

// RFC 7873: a client's cookie is answered with a server's, which then proves the client's address.
func TestCookies(t *testing.T) {
	s := newServer(t)
	ask := func(cookie string) string {
		t.Helper()
		option := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}
		m := s.ask(withEDNS(query("www.example.test.", dns.TypeA), 4096, option))
		if o := m.IsEdns0().Option; len(o) == 1 && len(m.Answer) == 1 {
			return o[0].(*dns.EDNS0_COOKIE).Cookie
		}
		t.Fatalf("%v", m)
		return ""
	}
	const client = "2464c4abcf10c957"
	full := ask(client)
	if len(full) != 48 || !strings.HasPrefix(full, client) || s.last.Trusted {
		t.Errorf("cookie %s, trusted %v", full, s.last.Trusted)
	}
	if again := ask(full); again != full || !s.last.Trusted {
		t.Errorf("cookie %s, trusted %v", again, s.last.Trusted)
	}
	forged := full[:47] + string("10"[strings.IndexByte("01", full[47])&1])
	if ask(forged); s.last.Trusted {
		t.Error("a forged cookie is trusted")
	}
}

// RFC 7873 section 5.4: a cookie may be asked for alone.
func TestCookieWithoutQuestion(t *testing.T) {
	s := newServer(t)
	q := withEDNS(new(dns.Msg), 4096, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"})
	m := s.ask(q)
	if m.Rcode != 0 || len(m.Question) != 0 || len(m.IsEdns0().Option) != 1 {
		t.Errorf("%v", m)
	}
}

// No response is longer than the client takes, or the server sends; what is optional goes first, and TC is set only
// for want of what was asked, or of glue (RFC 9471).
func TestSizes(t *testing.T) {
	s := newServer(t)
	for _, label := range []string{"big", "wide", "x.wide", "www"} {
		name := label + ".example.test."
		for _, kind := range []uint16{dns.TypeTXT, dns.TypeNS, dns.TypeANY} {
			whole := s.askTCP(withEDNS(query(name, kind), 4096))
			for _, size := range []uint16{0, 512, 600, 700, 800, 900, 1000, 1200, 1232, 1300, 65535} {
				m := s.ask(withEDNS(query(name, kind), size))
				limit := min(max(int(size), 512), 1232)
				if s.last.Size > limit {
					t.Errorf("%s, size %d: %d bytes", name, size, s.last.Size)
				}
				complete := text(m.Answer) == text(whole.Answer) && text(m.Extra) == text(whole.Extra)
				if complete == m.Truncated {
					t.Errorf("%s %s, size %d: TC %v, %d answers, %d additional; whole %d, %d",
						name, dns.TypeToString[kind], size, m.Truncated,
						len(m.Answer), len(m.Extra), len(whole.Answer), len(whole.Extra))
				}
			}
		}
	}
}

// Truncate turns any response into one that sends the client to TCP.
func TestTruncate(t *testing.T) {
	s := newServer(t)
	s.ask(withEDNS(query("www.example.test.", dns.TypeA), 4096))
	res := s.responder.Truncate()
	m := new(dns.Msg)
	if err := m.Unpack(s.out[:res.Size]); err != nil {
		t.Fatal(err)
	}
	if !m.Truncated || !res.Truncated || len(m.Answer)+len(m.Ns) != 0 || m.IsEdns0() == nil || len(m.Question) != 1 {
		t.Errorf("%v", m)
	}
}
