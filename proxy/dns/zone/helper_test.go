package zone

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/wire"
)

// write writes a file and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadText loads a zone from text, in a file named example.test.zone.
func loadText(t testing.TB, text string) *Zone {
	t.Helper()
	z, err := Load(write(t, t.TempDir(), "example.test.zone", text))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// parseName returns a name as the wire has it.
func parseName(t testing.TB, text string) *wire.Name {
	t.Helper()
	b := make([]byte, 256)
	end, err := dns.PackDomainName(text, b, 0, nil, false)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var n wire.Name
	if !n.Set(b[:end]) {
		t.Fatalf("%s is no name", text)
	}
	return &n
}

// records returns the RRset of a name and type as text, one record an element, read from a message in which it stands
// behind a question for its name.
func records(t testing.TB, z *Zone, name string, kind uint16) []string {
	t.Helper()
	n := parseName(t, name)
	m := z.Find(n, kind)
	if m.Kind == Missing {
		return nil
	}
	s := z.RRset(m.Node, kind)
	if s.Count == 0 {
		return nil
	}
	return unpack(t, n, kind, &s)
}

func unpack(t testing.TB, n *wire.Name, kind uint16, s *RRset) []string {
	t.Helper()
	b := make([]byte, wire.HeaderLen, 4096)
	h := wire.Header{Flags: wire.QR, Questions: 1, Answers: uint16(s.Count)}
	h.Put(b, 1)
	b = append(b, n.Wire()...)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, wire.ClassIN)
	b = append(b, s.Wire...)
	msg := new(dns.Msg)
	if err := msg.Unpack(b); err != nil {
		t.Fatalf("unpack %s: %v", n, err)
	}
	var out []string
	for _, rr := range msg.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	return out
}
