package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// stockDNS is the argument by which anyport-bench is told to be the stock server.
const stockDNS = "stock-dns"

// serveStockDNS serves a zone as most programs that use miekg/dns do: its own server, and a handler that makes a
// message of records from a map. It knows what the suite asks and no more. Its arguments are the zone file and the
// addresses. It returns when a server fails.
func serveStockDNS(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%s needs a zone file and addresses", stockDNS)
	}
	zoneFile, addresses := args[0], args[1:]
	z, err := readStockZone(zoneFile)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, a := range addresses {
		server := &dns.Server{Addr: net.JoinHostPort(a, fmt.Sprint(dnsPort)), Net: "udp", Handler: z}
		g.Go(server.ListenAndServe)
	}
	return g.Wait()
}

// stockZone is the records of a zone by lower-case name and type.
type stockZone struct {
	records map[string]map[uint16][]dns.RR
	apex    string
}

func readStockZone(path string) (*stockZone, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z := &stockZone{records: make(map[string]map[uint16][]dns.RR)}
	parser := dns.NewZoneParser(f, "", path)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		h := rr.Header()
		name := strings.ToLower(h.Name)
		if z.records[name] == nil {
			z.records[name] = make(map[uint16][]dns.RR)
		}
		z.records[name][h.Rrtype] = append(z.records[name][h.Rrtype], rr)
		if h.Rrtype == dns.TypeSOA {
			z.apex = name
		}
	}
	if z.apex == "" {
		return nil, errors.Join(fmt.Errorf("%s has no SOA record", path), parser.Err())
	}
	return z, parser.Err()
}

// ServeDNS implements dns.Handler.
func (z *stockZone) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	m := new(dns.Msg).SetReply(query)
	m.Authoritative = true
	z.answer(m, strings.ToLower(query.Question[0].Name), query.Question[0].Qtype)
	if opt := query.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	_ = w.WriteMsg(m) // the client asks again
}

func (z *stockZone) answer(m *dns.Msg, name string, kind uint16) {
	if cut := z.cut(name); cut != nil {
		m.Authoritative = false
		m.Ns = cut
		z.addresses(m, cut)
		return
	}
	types := z.records[name]
	if types == nil {
		types = withOwner(z.records["*"+name[strings.IndexByte(name, '.'):]], m.Question[0].Name)
	}
	switch {
	case types == nil:
		m.Rcode = dns.RcodeNameError
		m.Ns = z.records[z.apex][dns.TypeSOA]
	case types[kind] != nil:
		m.Answer = append(m.Answer, types[kind]...)
		m.Ns = z.records[z.apex][dns.TypeNS]
		z.addresses(m, m.Ns)
	case types[dns.TypeCNAME] != nil:
		m.Answer = append(m.Answer, types[dns.TypeCNAME]...)
		z.answer(m, strings.ToLower(types[dns.TypeCNAME][0].(*dns.CNAME).Target), kind)
	default:
		m.Ns = z.records[z.apex][dns.TypeSOA]
	}
}

// cut returns the name servers of the delegation that a name is at or below, or nil.
func (z *stockZone) cut(name string) []dns.RR {
	for name != z.apex && dns.IsSubDomain(z.apex, name) {
		if ns := z.records[name][dns.TypeNS]; ns != nil {
			return ns
		}
		name = name[strings.IndexByte(name, '.')+1:]
	}
	return nil
}

func (z *stockZone) addresses(m *dns.Msg, servers []dns.RR) {
	for _, ns := range servers {
		types := z.records[strings.ToLower(ns.(*dns.NS).Ns)]
		m.Extra = append(append(m.Extra, types[dns.TypeA]...), types[dns.TypeAAAA]...)
	}
}

// withOwner returns a wildcard's records as those of a name.
func withOwner(types map[uint16][]dns.RR, owner string) map[uint16][]dns.RR {
	if types == nil {
		return nil
	}
	own := make(map[uint16][]dns.RR, len(types))
	for kind, rrs := range types {
		for _, rr := range rrs {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
			own[kind] = append(own[kind], rr)
		}
	}
	return own
}
