package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameserver is a DNS server over UDP and TCP, which answers with what it finds in records. Its resolver asks nobody
// else.
type nameserver struct {
	Resolver
	streams atomic.Int32 // queries over TCP

	mu      sync.Mutex          // guards the fields below
	records map[string][]string // of a name; names that are not here do not exist
	rcodes  map[string]int      // of names that are to fail
	silent  map[string]bool     // names that are not answered
	cut     map[string]bool     // names whose answers over UDP are truncated, and say that they hold for a second
}

func newNameserver(t *testing.T) *nameserver {
	t.Helper()
	s := &nameserver{records: make(map[string][]string), rcodes: make(map[string]int), silent: make(map[string]bool),
		cut: make(map[string]bool)}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, packets.LocalAddr().String())
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: streams, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { server.ActivateAndServe() })
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return s
}

func (s *nameserver) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToLower(query.Question[0].Name)
	if s.silent[name] {
		return
	}
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	if overTCP {
		s.streams.Add(1)
	}
	answer := new(dns.Msg).SetReply(query)
	records, exists := s.records[name]
	if answer.Rcode = s.rcodes[name]; !exists && answer.Rcode == 0 {
		answer.Rcode = dns.RcodeNameError
	}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if t := rr.Header().Rrtype; t == query.Question[0].Qtype || t == dns.TypeCNAME {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	if s.cut[name] && !overTCP {
		answer.Truncated = true
		for _, rr := range answer.Answer {
			rr.Header().Ttl = 1
		}
	}
	w.WriteMsg(answer)
}

// The TTL of an answer is the least of what led to the addresses, over UDP and TCP.
func TestResolverTTL(t *testing.T) {
	s := newNameserver(t)
	for _, c := range []struct {
		name    string
		records string // by ";"
		addrs   string
		ttl     time.Duration
	}{
		{"zero.test.", "zero.test. 0 IN A 192.0.2.1", "[192.0.2.1]", 0},
		{"one.test.", "one.test. 1 IN A 192.0.2.1", "[192.0.2.1]", time.Second},
		{"day.test.", "day.test. 86400 IN AAAA 2001:db8::1", "[2001:db8::1]", 24 * time.Hour},
		{"negative.test.", "negative.test. 2147483648 IN A 192.0.2.1", "[192.0.2.1]", 0},
		{"longest.test.", "longest.test. 2147483647 IN A 192.0.2.1", "[192.0.2.1]", (1<<31 - 1) * time.Second},
		{"both.test.", "both.test. 60 IN A 192.0.2.1;both.test. 5 IN AAAA 2001:db8::1", "[192.0.2.1 2001:db8::1]", 5 * time.Second},
		{"two.test.", "two.test. 9 IN A 192.0.2.1;two.test. 8 IN A 192.0.2.2", "[192.0.2.1 192.0.2.2]", 8 * time.Second},
		{"alias.test.", "alias.test. 7 IN CNAME real.test.;real.test. 60 IN A 192.0.2.1", "[192.0.2.1]", 7 * time.Second},
		{"cut.test.", "cut.test. 50 IN A 192.0.2.1;cut.test. 40 IN AAAA 2001:db8::1", "[192.0.2.1 2001:db8::1]", 40 * time.Second},
	} {
		s.mu.Lock()
		s.records[c.name] = strings.Split(c.records, ";")
		s.cut[c.name] = c.name == "cut.test."
		s.mu.Unlock()
		for _, name := range []string{c.name, strings.ToUpper(c.name)} {
			answer, err := s.Lookup(t.Context(), name)
			slices.SortFunc(answer.Addrs, netip.Addr.Compare)
			if err != nil || fmt.Sprint(answer.Addrs) != c.addrs || answer.TTL != c.ttl {
				t.Errorf("%s: %v, %v, want %s with TTL %v", name, answer, err, c.addrs, c.ttl)
			}
		}
	}
	if n := s.streams.Load(); n != 4 {
		t.Errorf("%d queries over TCP, want 2 for each look-up of what does not fit into a datagram", n)
	}
}

// A name that does not exist, a server that cannot, and one that says nothing are told apart.
func TestResolverFails(t *testing.T) {
	s := newNameserver(t)
	s.mu.Lock()
	s.rcodes["refused.test."] = dns.RcodeServerFailure
	s.silent["silent.test."] = true
	s.mu.Unlock()
	for name, want := range map[string]func(*net.DNSError) bool{
		"missing.test.": func(err *net.DNSError) bool { return err.IsNotFound },
		"refused.test.": func(err *net.DNSError) bool { return err.IsTemporary && !err.IsNotFound },
		"silent.test.":  func(err *net.DNSError) bool { return err.IsTimeout },
	} {
		patience := time.Minute
		if name == "silent.test." {
			patience = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		answer, err := s.Lookup(ctx, name)
		var dnsErr *net.DNSError
		if !errors.As(err, &dnsErr) || !want(dnsErr) || len(answer.Addrs) != 0 {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
}

// The hosts file comes first and knows no TTL.
func TestResolverReadsHosts(t *testing.T) {
	s := newNameserver(t)
	answer, err := s.Lookup(t.Context(), "localhost")
	if err != nil || len(answer.Addrs) == 0 || !answer.Addrs[0].IsLoopback() || answer.TTL != 0 {
		t.Errorf("localhost: %v, %v", answer, err)
	}
}

// What is no answer to the query says nothing about TTLs.
func TestTTLOfWrongAnswers(t *testing.T) {
	query := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
	for name, spoil := range map[string]func(*dns.Msg){
		"right":                    func(*dns.Msg) {},
		"case":                     func(m *dns.Msg) { m.Question[0].Name = "A.tEST." },
		"another id":               func(m *dns.Msg) { m.Id++ },
		"another name":             func(m *dns.Msg) { m.Question[0].Name = "b.test." },
		"another type":             func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"another class":            func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":              func(m *dns.Msg) { m.Question = nil },
		"a query":                  func(m *dns.Msg) { m.Response = false },
		"truncated":                func(m *dns.Msg) { m.Truncated = true },
		"a failure":                func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"a name that is not there": func(m *dns.Msg) { m.Rcode = dns.RcodeNameError },
	} {
		answer := new(dns.Msg).SetReply(query)
		rr, err := dns.NewRR("a.test. 3 IN A 192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		answer.Answer = []dns.RR{rr}
		spoil(answer)
		asked, errQ := query.Pack()
		told, errA := answer.Pack()
		if errQ != nil || errA != nil {
			t.Fatal(errQ, errA)
		}
		var ttl leastTTL
		ttl.note(asked, told)
		if want := name == "right" || name == "case"; ttl.seen != want {
			t.Errorf("%s: TTL taken: %v, want %v", name, ttl.seen, want)
		}
		for n := range told { // whatever is cut off is no reason to fail
			new(leastTTL).note(asked, told[:n])
			new(leastTTL).note(asked[:min(n, len(asked))], told)
		}
	}
}
