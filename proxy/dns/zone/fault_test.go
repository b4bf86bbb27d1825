package zone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every fault is told with its file and line, as exactly as this.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no SOA", "a 300 A 192.0.2.1\n", "Z: the zone has no SOA record"},
		{"empty", "", "Z: the zone has no SOA record"},
		{"unknown type", soa + "a 300 NOPE 1\n", `Z:3: expecting RR type or class, not this...: "NOPE"`},
		{"bad address", soa + "a 300 A 192.0.2.999\n", `Z:3: bad A A: "192.0.2.999"`},
		{"bad address, last line", soa + "a 300 A nonsense", `Z:3: bad A A: "nonsense"`},
		{"no data", soa + "a 300 NS\n", "Z:3: the record has no data"},
		{"bad TTL", soa + "a x A 192.0.2.1\n", `Z:3: not a TTL: "x"`},
		{"long TTL", soa + "a 2147483648 A 192.0.2.1\n", "Z:3: TTL 2147483648 is above 2147483647 (RFC 2181 section 8)"},
		{"class", soa + "a 300 CH A 192.0.2.1\n", "Z:3: class 3: only IN is served"},
		{"long label", soa + strings.Repeat("a", 64) + " 300 A 192.0.2.1\n",
			`Z:3: bad owner name: "` + strings.Repeat("a", 64) + `"`},
		{"out of zone", soa + "\n\na.other.test. 300 A 192.0.2.1\n", "Z:5: a.other.test. is not in the zone example.test."},
		{"second zone", soa + "sub 300 SOA ns host 1 2 3 4 60\n",
			"Z:3: a second SOA record, at sub.example.test.; the zone is example.test."},
		{"two SOAs", soa + "@ 300 SOA ns host 2 2 3 4 60\n", "Z: example.test. has more than one SOA record"},
		{"two CNAMEs", soa + "a 300 CNAME b\na 300 CNAME c\n",
			"Z:4: a.example.test. has more than one CNAME record (RFC 2181 section 10.1)"},
		{"CNAME and data", soa + "a 300 CNAME b\na 300 A 192.0.2.1\n",
			"Z:3: a.example.test. has a CNAME record and others (RFC 2181 section 10.1)"},
		{"two DNAMEs", soa + "a 300 DNAME b\na 300 DNAME c\n",
			"Z:4: a.example.test. has more than one DNAME record (RFC 6672 section 2.4)"},
		{"parentheses", soa + "a 300 TXT ( open\n", `Z:3: bad TXT Txt: "unbalanced brace"`},
		{"bad range", soa + "$GENERATE 9-1 a$ A 192.0.2.$\n",
			`Z:3: $GENERATE: "9-1" is no range: START-STOP or START-STOP/STEP`},
		{"huge range", soa + "$GENERATE 0-2000000000 a$ A 192.0.2.1\n",
			`Z:3: $GENERATE: "0-2000000000" is more than 16777216 records`},
		{"bad modifier", soa + "$GENERATE 1-2 a${0,x} A 192.0.2.$\n",
			`Z:3: $GENERATE: "${0,x}" is no modifier: ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,BASE}`},
		{"generated", soa + "$GENERATE 254-256 a$ A 192.0.2.$\nb 300 A 192.0.2.1\n", `Z:3: bad A A: "192.0.2.256"`},
		{"two at once", soa + "a.other.test. 300 A 192.0.2.1\nb.other.test. 300 A 192.0.2.1\n",
			"Z:3: a.other.test. is not in the zone example.test.\nZ:4: b.other.test. is not in the zone example.test."},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "example.test.zone", c.text)
			checkFault(t, path, strings.ReplaceAll("\n"+c.want, "\nZ:", "\n"+path+":")[1:])
		})
	}
}

func checkFault(t *testing.T, path, want string) {
	t.Helper()
	_, err := Load(path)
	if err == nil {
		t.Fatal("the file was loaded")
	}
	if err.Error() != want {
		t.Errorf("\n got %s\nwant %s", err, want)
	}
}

// A fault in an included file is told with that file's name and line, one behind it with the including file's.
func TestFaultsInIncluded(t *testing.T) {
	dir := t.TempDir()
	inner := write(t, dir, "inner.inc", "a 300 A 192.0.2.1\n\nb 300 A broken\n")
	outer := write(t, dir, "outer.zone", "@ 300 SOA ns host 1 2 3 4 60\n$INCLUDE inner.inc\n")
	checkFault(t, outer, inner+`:3: bad A A: "broken"`)
	write(t, dir, "inner.inc", "a 300 A 192.0.2.1\n")
	write(t, dir, "outer.zone", "@ 300 SOA ns host 1 2 3 4 60\n$INCLUDE inner.inc\nc 300 A broken\n")
	checkFault(t, outer, outer+`:3: bad A A: "broken"`)
	write(t, dir, "outer.zone", "@ 300 SOA ns host 1 2 3 4 60\n$INCLUDE missing.inc\n")
	missing := filepath.Join(dir, "missing.inc")
	checkFault(t, outer, outer+":2: failed to open `missing.inc' as `"+missing[1:]+"': open "+missing+
		`: no such file or directory: "missing.inc"`)
	if err := os.Remove(outer); err != nil {
		t.Fatal(err)
	}
	checkFault(t, outer, "open "+outer+": no such file or directory")
}

// What is legal but surely not meant is loaded with a warning.
func TestWarnings(t *testing.T) {
	path := write(t, t.TempDir(), "example.test.zone",
		"@ 300 SOA ns host 1 2 3 4 60\nd 300 DNAME e\nx.d 300 A 192.0.2.1\n")
	z, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range z.Warnings {
		got = append(got, w.Error())
	}
	want := path + ": example.test. has no NS records\n" +
		path + ":3: x.d.example.test. is hidden by the DNAME record of d.example.test."
	if strings.Join(got, "\n") != want {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n"), want)
	}
}
