package bench

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
)

// The zone of the dns suite.
const (
	dnsOrigin = "bench.test."
	dnsHosts  = 10_000 // names with addresses of both families
	dnsCuts   = 100    // delegations with glue
)

// writeDNSZone writes the zone: hosts, aliases of them, a wildcard and delegations.
func writeDNSZone(w io.Writer) error {
	var b strings.Builder
	b.WriteString("$ORIGIN " + dnsOrigin + "\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 3600 604800 300\n")
	b.WriteString("@ NS ns1\n@ NS ns2\n")
	b.WriteString("ns1 A 192.0.2.1\nns1 AAAA 2001:db8:1::1\nns2 A 192.0.2.2\nns2 AAAA 2001:db8:1::2\n*.wild A 192.0.2.3\n")
	for i := range dnsHosts {
		fmt.Fprintf(&b, "host%d A %s\nhost%d AAAA %s\nalias%d CNAME host%d\n", i, hostA(i), i, hostAAAA(i), i, i)
	}
	for i := range dnsCuts {
		fmt.Fprintf(&b, "sub%d NS ns.sub%d\nsub%d NS ns2\nns.sub%d A 192.0.2.4\n", i, i, i, i)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func hostA(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}) }

func hostAAAA(i int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:2::").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i))
	return netip.AddrFrom16(a)
}

// Record types and response codes of the queries (RFC 1035 sections 3.2.2 and 4.1.1, RFC 3596).
const (
	typeA    = 1
	typeNS   = 2
	typeSOA  = 6
	typeMX   = 15
	typeAAAA = 28
	nxdomain = 3
)

// dnsQuery is a query and what its answer has to be.
type dnsQuery struct {
	packet        []byte // with ID 0
	question      []byte // the part of packet
	rcode         byte
	authoritative bool
	answers       int    // records in the answer section
	data          []byte // of the last of them
	authority     int    // type of the first record of the authority section, if there is no answer
}

// randomDNSQuery draws one: 50 % A, 20 % AAAA, 10 % names that do not exist, and 5 % each of types that do not exist,
// wildcards, aliases and delegations; half of all with EDNS.
func randomDNSQuery(rng *rand.Rand) dnsQuery {
	i := rng.IntN(dnsHosts)
	edns := rng.IntN(2) == 0
	host, a := fmt.Sprintf("host%d", i), hostA(i).AsSlice()
	ask := func(name string, kind uint16, want dnsQuery) dnsQuery {
		return newDNSQuery(name+"."+dnsOrigin, kind, edns, want)
	}
	switch n := rng.IntN(100); {
	case n < 50:
		return ask(host, typeA, dnsQuery{authoritative: true, answers: 1, data: a})
	case n < 70:
		return ask(host, typeAAAA, dnsQuery{authoritative: true, answers: 1, data: hostAAAA(i).AsSlice()})
	case n < 80:
		return ask(fmt.Sprintf("none%d", i), typeA, dnsQuery{authoritative: true, rcode: nxdomain, authority: typeSOA})
	case n < 85:
		return ask(host, typeMX, dnsQuery{authoritative: true, authority: typeSOA})
	case n < 90:
		return ask(fmt.Sprintf("w%d.wild", i), typeA, dnsQuery{authoritative: true, answers: 1, data: []byte{192, 0, 2, 3}})
	case n < 95:
		return ask(fmt.Sprintf("alias%d", i), typeA, dnsQuery{authoritative: true, answers: 2, data: a})
	}
	return ask(fmt.Sprintf("www.sub%d", i%dnsCuts), typeA, dnsQuery{authority: typeNS})
}

// newDNSQuery writes the packet of a query for an absolute name (RFC 1035 section 4.1).
func newDNSQuery(name string, kind uint16, edns bool, q dnsQuery) dnsQuery {
	p := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		p = append(append(p, byte(len(label))), label...)
	}
	p = append(binary.BigEndian.AppendUint16(append(p, 0), kind), 0, 1)
	end := len(p)
	if edns { // RFC 6891 section 6.1.2, of the size that DNS flag day 2020 asks for
		p[11] = 1
		p = append(p, 0, 0, 41, 1232>>8, 1232&0xff, 0, 0, 0, 0, 0, 0)
	}
	q.packet, q.question = p, p[12:end]
	return q
}
