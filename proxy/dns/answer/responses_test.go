package answer_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var update = flag.Bool("update", false, "write what the server answers to testdata/responses.txt")

// TestResponses compares whole responses with testdata/responses.txt, which names the RFC that asks for each.
func TestResponses(t *testing.T) {
	const path = "testdata/responses.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	var got []string
	for line := range strings.Lines(string(text)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "query "):
			got = append(got, line, s.describe(line))
		case line == "" || strings.HasPrefix(line, "#"):
			got = append(got, line)
		}
	}
	all := strings.Join(got, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(all), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compareBlocks(t, string(text), all)
}

// compareBlocks reports the paragraphs that differ.
func compareBlocks(t *testing.T, want, got string) {
	w, g := strings.Split(want, "\n\n"), strings.Split(got, "\n\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			t.Errorf("want\n%s\ngot\n%s", strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""),
				strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""))
		}
	}
}

// describe asks what a line of the form "query NAME TYPE [CLASS]" says, over TCP, and writes the response down.
func (s *server) describe(line string) string {
	f := strings.Fields(line)
	q := query(f[1], dns.StringToType[f[2]])
	if len(f) > 3 {
		q.Question[0].Qclass = dns.StringToClass[f[3]]
	}
	m := s.askTCP(q)
	out := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		out[0] += " AA"
	}
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		for _, rr := range section.rrs {
			out = append(out, fmt.Sprintf("%-10s %s", section.name, strings.Join(strings.Fields(rr.String()), " ")))
		}
	}
	return strings.Join(out, "\n")
}
