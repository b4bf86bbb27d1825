package answer_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/zone"
)

// A ferretCase is a zone, a query, and the response that most of BIND, Knot, NSD and PowerDNS gave: data of the Ferret
// project (github.com/dns-groot/FerretDataset, MIT licence in testdata/LICENSE.ferret).
type ferretCase struct {
	ID       int
	Zone     string
	Name     string
	Type     string
	Response []string
	Agree    int // how many of the four gave it
	Servers  []string
}

// explained is the cases that we answer otherwise, by the section that allows it. At most two servers agree on each.
var explained = map[int]string{
	// The DNAME leads below its own owner, so that the chain has no end. We stop after the first step; BIND goes on
	// until the response is full.
	185: dnameLoop, 620: dnameLoop, 1205: dnameLoop, 1345: dnameLoop, 2255: dnameLoop, 2670: dnameLoop,
}

const dnameLoop = "RFC 6672 section 2.2"

// TestConformance asks a few of Ferret's cases, one of each kind, and all that ANYPORT_DNS_CASES or
// ../shared/dns/cases.jsonl.gz, beside the source tree, has.
func TestConformance(t *testing.T) {
	cases := readCases(t, "testdata/ferret.jsonl")
	if path := moreCases(); path != "" {
		cases = append(cases, readCases(t, path)...)
	} else {
		t.Log("ANYPORT_DNS_CASES and ../shared/dns have no further cases: doing without")
	}
	type score struct{ same, all int }
	scores := map[int]score{}
	dir := t.TempDir()
	for _, c := range cases {
		got, want := c.ask(t, dir), normal(c.Response)
		s := scores[c.Agree]
		s.all++
		switch {
		case slices.Equal(got, want):
			s.same++
		case explained[c.ID] == "":
			t.Errorf("case %d, on which %v agree: %s %s\n%s\nwant %s\ngot  %s", c.ID, c.Servers, c.Name, c.Type, c.Zone,
				strings.Join(want, "\n     "), strings.Join(got, "\n     "))
		}
		scores[c.Agree] = s
	}
	for _, agree := range []int{4, 3, 2, 1} {
		t.Logf("%d servers agree: %d of %d responses are theirs", agree, scores[agree].same, scores[agree].all)
	}
}

// moreCases returns the file with all cases, or "".
func moreCases() string {
	if path := os.Getenv("ANYPORT_DNS_CASES"); path != "" {
		return path
	}
	const beside = "../../../../shared/dns/cases.jsonl.gz"
	if _, err := os.Stat(beside); err != nil {
		return ""
	}
	return beside
}

func readCases(t *testing.T, path string) (cases []ferretCase) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c ferretCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

// ask puts the case's query to its zone, which is loaded from dir.
func (c *ferretCase) ask(t *testing.T, dir string) []string {
	path := filepath.Join(dir, "case.zone")
	if err := os.WriteFile(path, []byte(c.Zone), 0o600); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Load(path)
	if err != nil {
		t.Fatalf("case %d: %v\n%s", c.ID, err, c.Zone)
	}
	return lines(ask(t, query(c.Name, dns.StringToType[c.Type]), zone.NewZones([]*zone.Zone{z})))
}

// lines writes a message as the cases do.
func lines(m *dns.Msg) []string {
	flags := "flags QR"
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "AA"}, {m.Truncated, "TC"}, {m.RecursionDesired, "RD"}, {m.RecursionAvailable, "RA"}} {
		if f.set {
			flags += " " + f.name
		}
	}
	q := m.Question[0]
	out := []string{
		"opcode " + dns.OpcodeToString[m.Opcode], "rcode " + dns.RcodeToString[m.Rcode], flags,
		";QUESTION", q.Name + " IN " + dns.TypeToString[q.Qtype],
	}
	for _, s := range []struct {
		title string
		rrs   []dns.RR
	}{{";ANSWER", m.Answer}, {";AUTHORITY", m.Ns}, {";ADDITIONAL", m.Extra}} {
		out = append(out, s.title)
		for _, rr := range s.rrs {
			out = append(out, rr.String())
		}
	}
	return normal(out)
}

// normal folds white space and makes each section a sorted set.
func normal(in []string) []string {
	var out, section []string
	flush := func() {
		slices.Sort(section)
		out = append(out, slices.Compact(section)...)
		section = nil
	}
	for _, l := range in {
		if strings.HasPrefix(l, ";") {
			flush()
			out = append(out, l)
			continue
		}
		section = append(section, strings.Join(strings.Fields(l), " "))
	}
	flush()
	return out
}
