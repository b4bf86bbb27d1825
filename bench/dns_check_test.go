package bench

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
)

// stockAnswer returns the stock server's answer to a query.
func stockAnswer(t *testing.T, z *stockZone, q dnsQuery) []byte {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(q.packet); err != nil {
		t.Fatal(err)
	}
	var w recorder
	z.ServeDNS(&w, m)
	packed, err := w.m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

type recorder struct {
	dns.ResponseWriter
	m *dns.Msg
}

func (r *recorder) WriteMsg(m *dns.Msg) error {
	r.m = m
	return nil
}

func stock(t *testing.T) *stockZone {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bench.zone")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeDNSZone(f); err != nil {
		t.Fatal(err)
	}
	z, err := readStockZone(path)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestDNSCheck takes the answers of a right server for right, and none that was changed in a byte that counts, was cut
// off, or belongs to another query.
func TestDNSCheck(t *testing.T) {
	z, rng := stock(t), rand.New(rand.NewPCG(1, 2))
	var before []byte
	for range 500 {
		q := randomDNSQuery(rng)
		answer := stockAnswer(t, z, q)
		if !q.check(answer) {
			t.Fatalf("a right answer is taken for wrong: %x", answer)
		}
		if before != nil && q.check(before) {
			t.Fatalf("the answer to another query is taken for right: %x", before)
		}
		before = answer
		end := 12 + len(q.question)
		for i := range end {
			if i == 0 || i == 1 || i == 4 || i == 5 || i >= 8 && i < 12 { // ID, and counts that are not looked at
				continue
			}
			wrong := append([]byte(nil), answer...)
			if wrong[i] ^= 0x42; q.check(wrong) {
				t.Fatalf("byte %d may be wrong in %x", i, answer)
			}
			if q.check(answer[:i]) {
				t.Fatalf("%d bytes of %x are taken for an answer", i, answer)
			}
		}
		if q.answers == 0 {
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(answer); err != nil {
			t.Fatal(err)
		}
		last := dns.Copy(m.Answer[len(m.Answer)-1])
		switch rr := last.(type) {
		case *dns.A:
			rr.A = net.IPv4(192, 0, 2, 99)
		case *dns.AAAA:
			rr.AAAA = net.ParseIP("2001:db8::99")
		}
		m.Answer[len(m.Answer)-1] = last
		wrong, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if q.check(wrong) {
			t.Fatalf("another address is taken for right: %s", m)
		}
	}
}
