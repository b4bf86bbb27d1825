package zone

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const soa = "@ 300 IN SOA ns host 1 2 3 4 60\n@ 300 IN NS ns.other.test.\n"

// Every feature of the format, and what it becomes.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sub.inc", "$TTL 77\nhost A 192.0.2.9\n@ A 192.0.2.8\n")
	path := write(t, dir, "example.test.zone", `; a comment
$TTL 1h
@	IN	SOA	ns.example.test. host\.master (
		7	; serial
		2h 1h 2w
		60 )
	NS	ns
ns	A	192.0.2.1
	600 A	192.0.2.2
MixedCase	A 192.0.2.3
esc\.aped	A 192.0.2.4
\000\255	A 192.0.2.5
txt	TXT	"two words" plain "quote \" and \233"
odd	TYPE65400 \# 3 ABCDEF
known	TYPE1 \# 4 C0000206
class	IN 30 A 192.0.2.6
$ORIGIN deep.example.test.
a.b	A 192.0.2.7
$INCLUDE sub.inc sub.example.test.
again	MX 10 again
$ORIGIN example.test.
$GENERATE 1-3 gen$ A 10.0.0.$
$GENERATE 8-16/8 x${-1,4,x} 90 IN TXT "n $ \$"
last	A 192.0.2.10
`)
	z, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if z.Serial != 7 || z.Apex().String() != "example.test." {
		t.Errorf("zone %s, serial %d", z.Apex(), z.Serial)
	}
	for _, c := range []struct {
		name string
		kind uint16
		want []string
	}{
		{"example.test.", dns.TypeSOA, []string{
			`example.test. 3600 IN SOA ns.example.test. host\.master.example.test. 7 7200 3600 1209600 60`,
		}},
		{"example.test.", dns.TypeNS, []string{"example.test. 3600 IN NS ns.example.test."}},
		{"ns.example.test.", dns.TypeA, []string{
			"ns.example.test. 600 IN A 192.0.2.1", "ns.example.test. 600 IN A 192.0.2.2",
		}},
		{"mixedcase.example.test.", dns.TypeA, []string{"mixedcase.example.test. 3600 IN A 192.0.2.3"}},
		{`esc\.aped.example.test.`, dns.TypeA, []string{`esc\.aped.example.test. 3600 IN A 192.0.2.4`}},
		{`\000\255.example.test.`, dns.TypeA, []string{`\000\255.example.test. 3600 IN A 192.0.2.5`}},
		{"txt.example.test.", dns.TypeTXT, []string{`txt.example.test. 3600 IN TXT "two words" "plain" "quote \" and \233"`}},
		{"odd.example.test.", 65400, []string{`odd.example.test. 3600 CLASS1 TYPE65400 \# 3 abcdef`}},
		{"known.example.test.", dns.TypeA, []string{"known.example.test. 3600 IN A 192.0.2.6"}},
		{"class.example.test.", dns.TypeA, []string{"class.example.test. 30 IN A 192.0.2.6"}},
		{"a.b.deep.example.test.", dns.TypeA, []string{"a.b.deep.example.test. 3600 IN A 192.0.2.7"}},
		{"host.sub.example.test.", dns.TypeA, []string{"host.sub.example.test. 77 IN A 192.0.2.9"}},
		{"sub.example.test.", dns.TypeA, []string{"sub.example.test. 77 IN A 192.0.2.8"}},
		{"again.deep.example.test.", dns.TypeMX, []string{"again.deep.example.test. 3600 IN MX 10 again.deep.example.test."}},
		{"gen2.example.test.", dns.TypeA, []string{"gen2.example.test. 3600 IN A 10.0.0.2"}},
		{"x0007.example.test.", dns.TypeTXT, []string{`x0007.example.test. 90 IN TXT "n 8 $"`}},
		{"x000f.example.test.", dns.TypeTXT, []string{`x000f.example.test. 90 IN TXT "n 16 $"`}},
		{"last.example.test.", dns.TypeA, []string{"last.example.test. 3600 IN A 192.0.2.10"}},
		{"gen4.example.test.", dns.TypeA, nil},
	} {
		if got := records(t, z, c.name, c.kind); !slices.Equal(got, c.want) {
			t.Errorf("%s %s:\n got %q\nwant %q", c.name, dns.TypeToString[c.kind], got, c.want)
		}
	}
}

// Records repeated, with other TTLs, in any order, become one RRset of one TTL.
func TestRRsets(t *testing.T) {
	z := loadText(t, soa+`a 50 A 192.0.2.1
a 90 AAAA 2001:db8::1
b 10 A 192.0.2.9
a 20 A 192.0.2.2
a 30 A 192.0.2.1
`+strings.Repeat("many 60 TXT same\n", 20))
	want := []string{"a.example.test. 20 IN A 192.0.2.1", "a.example.test. 20 IN A 192.0.2.2"}
	if got := records(t, z, "a.example.test.", dns.TypeA); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := records(t, z, "many.example.test.", dns.TypeTXT); len(got) != 1 {
		t.Errorf("20 equal records became %d", len(got))
	}
	if z.Records != 7 {
		t.Errorf("%d records", z.Records)
	}
}

// The SOA record of a negative answer has the lesser of the two TTLs.
func TestNegative(t *testing.T) {
	for text, want := range map[string]string{
		"@ 300 SOA ns host 1 2 3 4 60\n": "example.test. 60 IN SOA ns.example.test. host.example.test. 1 2 3 4 60",
		"@ 30 SOA ns host 1 2 3 4 60\n":  "example.test. 30 IN SOA ns.example.test. host.example.test. 1 2 3 4 60",
	} {
		z := loadText(t, text)
		s := z.Negative()
		if got := unpack(t, z.Apex(), dns.TypeSOA, &s); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
