package answer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/zone"
)

// The differ asks NSD, Knot and this server about the same random zones. ANYPORT_DIFFER_SEED and ANYPORT_DIFFER_ZONES
// choose others than those of every run.
const (
	differSeed    = 53
	differZones   = 300
	differQueries = 10 // a zone
)

var differTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeDS,
}

func TestDiffer(t *testing.T) {
	seed, zones := fromEnv(t, "ANYPORT_DIFFER_SEED", differSeed), fromEnv(t, "ANYPORT_DIFFER_ZONES", differZones)
	t.Logf("seed %d, %d zones", seed, zones)
	g := newRandomZones(uint64(seed), zones)
	dir := t.TempDir()
	texts, ours := g.write(t, dir)
	peers := []*peer{startNSD(t, dir, g.origins), startKnot(t, dir, g.origins)}
	var same, explained int
	for i, origin := range g.origins {
		for range differQueries {
			q := query(g.name(origin, 4), differTypes[g.IntN(len(differTypes))])
			mine := ask(t, q, ours)
			for _, p := range peers {
				their, err := p.exchange(q)
				if err != nil {
					t.Fatalf("ask %s: %v", p.name, err)
				}
				switch {
				case slices.Equal(lines(mine), lines(their)):
					same++
				case g.explains(p, mine, their):
					explained++
				default:
					t.Errorf("%s differs\n%s\nours:\n%s\n%s:\n%s", p.name, texts[i],
						strings.Join(lines(mine), "\n"), p.name, strings.Join(lines(their), "\n"))
				}
			}
		}
	}
	t.Logf("%d responses are the same, %d differ in ways that are explained", same, explained)
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write writes the zone files and loads them.
func (g *randomZones) write(t *testing.T, dir string) (texts []string, zones *zone.Zones) {
	var list []*zone.Zone
	for _, origin := range g.origins {
		text := g.zone(origin)
		path := filepath.Join(dir, origin+"zone")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		z, err := zone.Load(path)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		texts, list = append(texts, text), append(list, z)
	}
	return texts, zone.NewZones(list)
}

// ask puts a query to this server, over TCP so that nothing is cut.
func ask(t *testing.T, q *dns.Msg, zones *zone.Zones) *dns.Msg {
	packet, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, dns.MaxMsgSize)
	r := answer.NewResponder(&answer.Config{UDPSize: 1232})
	res := r.Answer(answer.Request{Packet: packet, TCP: true, Zones: zones}, out)
	m := new(dns.Msg)
	if err := m.Unpack(out[:res.Size]); err != nil {
		t.Fatalf("unpack the response to %v: %v", q.Question[0], err)
	}
	return m
}

// explains reports whether a peer's response may differ from ours as it does:
//
//	NSD   leaves the name servers and their addresses out of an answer with DS records, and
//	Knot  out of all positive answers: RFC 1034 section 4.3.2 step 6 makes them optional.
//	Knot  adds addresses below a delegation to an answer with MX records, though the zone has no authority for them
//	      (RFC 1034 section 4.2.1).
//	Knot  follows aliases within the zone of the question only. RFC 1034 section 4.3.2 step 3a goes back to step 1,
//	      which looks for the nearest zone; a resolver asks for the rest either way.
//	Knot  applies a DNAME that leads below its own owner several times. RFC 6672 section 2.2 lets a server stop; we
//	      stop at once, because no such chain has an end.
func (g *randomZones) explains(p *peer, mine, their *dns.Msg) bool {
	if mine.Authoritative != their.Authoritative {
		return false
	}
	switch p.name {
	case "nsd":
		return isPositive(mine) && isDS(mine) && leavesOutServers(mine, their)
	case "knotd":
		switch {
		case g.leaves(mine):
			return isSubset(their.Answer, mine.Answer)
		case hasOwnLoop(mine.Answer):
			return isSubset(mine.Answer, their.Answer)
		}
		return isPositive(mine) && leavesOutServers(mine, their)
	}
	return false
}

// isPositive reports whether a response answers with records, and with name servers at most beside them.
func isPositive(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 &&
		!slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeNS })
}

// leavesOutServers reports whether their response is ours without the zone's name servers and their addresses; it may
// have more additional records.
func leavesOutServers(mine, their *dns.Msg) bool {
	others := slices.DeleteFunc(slices.Clone(mine.Extra), func(a dns.RR) bool {
		return slices.ContainsFunc(mine.Ns, func(rr dns.RR) bool { return rr.(*dns.NS).Ns == a.Header().Name })
	})
	return equalSets(mine.Answer, their.Answer) && len(their.Ns) == 0 && isSubset(others, their.Extra)
}

func isSubset(some, all []dns.RR) bool {
	for _, rr := range some {
		if !slices.ContainsFunc(all, func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
			return false
		}
	}
	return true
}

func equalSets(x, y []dns.RR) bool { return isSubset(x, y) && isSubset(y, x) }

func hasOwnLoop(rrs []dns.RR) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		d, ok := rr.(*dns.DNAME)
		return ok && dns.IsSubDomain(d.Hdr.Name, d.Target)
	})
}

func isDS(m *dns.Msg) bool { return m.Question[0].Qtype == dns.TypeDS }

// leaves reports whether an alias leads out of the zone that the question is in.
func (g *randomZones) leaves(m *dns.Msg) bool {
	q := m.Question[0]
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		c, ok := rr.(*dns.CNAME)
		return ok && g.zoneOf(c.Target, q.Qtype) != g.zoneOf(q.Name, q.Qtype)
	})
}

// zoneOf returns the longest origin that a name is below, or "". For DS records the origin itself is not.
func (g *randomZones) zoneOf(name string, kind uint16) string {
	best := ""
	for _, origin := range g.origins {
		if dns.IsSubDomain(origin, name) && len(origin) > len(best) && (kind != dns.TypeDS || origin != name) {
			best = origin
		}
	}
	return best
}
