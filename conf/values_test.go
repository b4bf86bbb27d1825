package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anyport/conf/rule"
)

// The tables here hold what is accepted; what is refused, and with which words, is in testdata/bad.

func TestParseProxyProtocol(t *testing.T) {
	for text, want := range map[string]ProxyProtocol{"none": ProxyNone, "v1": ProxyV1, "v2": ProxyV2,
		"v2_first": ProxyV2First, "spp": ProxySPP} {
		if got, f := parseProxyProtocol(text); f != nil || got != want {
			t.Errorf("parseProxyProtocol(%q): %d %v, want %d", text, got, f, want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	for text, want := range map[string]ports{
		"all":                    nil,
		"1-65535":                nil,
		"22":                     ranges(22, 22),
		"22,2200-2299":           ranges(22, 22, 2200, 2299),
		" 2200 - 2299 , 22 ":     ranges(22, 22, 2200, 2299),
		"22,23":                  ranges(22, 22, 23, 23),
		"1-65535,!25":            ranges(1, 24, 26, 65535),
		"all,!25":                ranges(1, 24, 26, 65535),
		"!25,all":                ranges(1, 24, 26, 65535),
		"all,!1,!65535":          ranges(2, 65534),
		"all,!1-1024":            ranges(1025, 65535),
		"all,!1024-65535":        ranges(1, 1023),
		"1-100,200-300,!200-300": ranges(1, 100),
		"1-100,200-300,!250,!50": ranges(1, 49, 51, 100, 200, 249, 251, 300),
		"10-20,!10-11,!12,!20":   ranges(13, 19),
	} {
		got, f := parsePorts(text)
		if diff := cmp.Diff(want, got); f != nil || diff != "" {
			t.Errorf("parsePorts(%q): %v (-want +got):\n%s", text, f, diff)
		}
	}
}

// ranges pairs its arguments: first, last, first, last.
func ranges(ends ...uint16) ports {
	var p ports
	for pair := range slices.Chunk(ends, 2) {
		p = append(p, rule.PortRange{First: pair[0], Last: pair[1]})
	}
	return p
}

// TestParsePortsAgainstSets holds the cutting of ranges against plain sets of ports.
func TestParsePortsAgainstSets(t *testing.T) {
	for first := uint16(1); first < 8; first++ {
		for last := first; last < 8; last++ {
			x := ranges(first, last)
			got, f := ranges(1, 3, 4, 4, 6, 9).without(x)
			inOne := last <= 3 || first == 4 && last == 4 || first >= 6
			if (f == nil) != inOne {
				t.Fatalf("exclude %v: %v, want it refused: %v", x, f, !inOne)
			}
			for port := uint16(1); inOne && port < 12; port++ {
				want := (port <= 4 || 6 <= port && port <= 9) && (port < first || last < port)
				if got.contain(port) != want {
					t.Errorf("exclude %v leaves %v: port %d in it: %v, want %v", x, got, port, !want, want)
				}
			}
		}
	}
}

func (p ports) contain(port uint16) bool {
	for _, r := range p {
		if r.Contains(port) {
			return true
		}
	}
	return false
}

func TestParseUpstream(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::1")
	long := strings.Repeat("a", 63)
	for text, want := range map[string]Upstream{
		"10.0.0.5":           {Addr: v4},
		"10.0.0.5:80":        {Addr: v4, Port: 80},
		"10.0.0.5:+1000":     {Addr: v4, Offset: 1000},
		"2001:db8::1":        {Addr: v6},
		"[2001:db8::1]":      {Addr: v6},
		"[2001:db8::1]:80":   {Addr: v6, Port: 80},
		"[2001:db8::1]:+1":   {Addr: v6, Offset: 1},
		"name":               {Name: "name"},
		"name:80":            {Name: "name", Port: 80},
		"Game_1.example.":    {Name: "Game_1.example."},
		"a.b-c.example:+99":  {Name: "a.b-c.example", Offset: 99},
		"1.2.3.4.example:65": {Name: "1.2.3.4.example", Port: 65},
		long + ".example":    {Name: long + ".example"},
	} {
		got, f := parseUpstream(text)
		if f != nil || got != want {
			t.Errorf("parseUpstream(%q) = %+v, %v; want %+v", text, got, f, want)
		}
		again, f := parseUpstream(got.String())
		if f != nil || again != got {
			t.Errorf("String of %q is %q, which reads as %+v, %v", text, got, again, f)
		}
	}
}

func TestParseLongName(t *testing.T) {
	label := strings.Repeat("a", 49) + "."
	if _, f := parseUpstream(strings.Repeat(label, 5) + "abc"); f != nil {
		t.Errorf("a name of 253 characters: %v", f)
	}
	if _, f := parseUpstream(strings.Repeat(label, 5) + "abcd"); f == nil {
		t.Error("a name of 254 characters is accepted")
	}
}

func TestDialPort(t *testing.T) {
	for _, c := range []struct {
		upstream Upstream
		want     uint16
	}{{Upstream{}, 443}, {Upstream{Port: 80}, 80}, {Upstream{Offset: 1000}, 1443}} {
		if got := c.upstream.DialPort(443); got != c.want {
			t.Errorf("%+v dials port %d for 443, want %d", c.upstream, got, c.want)
		}
	}
}

func TestParseDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"none": 0, "1ms": time.Millisecond, "500ms": 500 * time.Millisecond, "3s": 3 * time.Second,
		"1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "720h": 720 * time.Hour,
	} {
		if got, f := parseTimeout(text); f != nil || got != want {
			t.Errorf("parseTimeout(%q) = %v, %v; want %v", text, got, f, want)
		}
	}
	for text, want := range map[string]time.Duration{"none": 0, "3s": 3 * time.Second, "9h": 9 * time.Hour} {
		if got, f := parseKeepalive(text); f != nil || got != want {
			t.Errorf("parseKeepalive(%q) = %v, %v; want %v", text, got, f, want)
		}
	}
	for text, want := range map[string]time.Duration{"none": 0, "1s": time.Second, "24h": 24 * time.Hour} {
		if got, f := parseUserTimeout(text); f != nil || got != want {
			t.Errorf("parseUserTimeout(%q) = %v, %v; want %v", text, got, f, want)
		}
	}
	if got, f := parseInterval("1s"); f != nil || got != time.Second {
		t.Errorf(`parseInterval("1s") = %v, %v`, got, f)
	}
}

func TestParseListener(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:9464": "127.0.0.1:9464", "[::1]:1": "[::1]:1", "[::]:9464": "[::]:9464", "0.0.0.0:9464": "0.0.0.0:9464",
	} {
		if got, f := parseListener(text); f != nil || got.String() != want {
			t.Errorf("parseListener(%q) = %v, %v", text, got, f)
		}
	}
	if got, f := parseListener("none"); f != nil || got.IsValid() {
		t.Errorf(`parseListener("none") = %v, %v; want the zero AddrPort`, got, f)
	}
}

func TestParseSample(t *testing.T) {
	for text, want := range map[string]int{"none": 0, "all": 1, "1/1": 1, "1/1000": 1000} {
		if got, f := parseSample(text); f != nil || got != want {
			t.Errorf("parseSample(%q) = %d, %v; want %d", text, got, f, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"port", "ports", 1}, {"kitten", "sitting", 3}, {"from", "form", 2}, {"a", "b", 1}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := editDistance(c.b, c.a); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestBalanceString(t *testing.T) {
	for balance, want := range map[Balance]string{
		RoundRobin: "round_robin", LeastConn: "least_conn", Maglev: "maglev", 9: "balance(9)",
	} {
		if got := balance.String(); got != want {
			t.Errorf("String of %d is %q, want %q", uint8(balance), got, want)
		}
	}
}

// A configuration that the kernel has too few counters for is refused before anything is loaded.
func TestTooManyRules(t *testing.T) {
	text := "prefixes = [\"198.18.0.0/20\"]\n"
	for port := 1; port <= MaxRules; port++ {
		text += fmt.Sprintf("[[route]]\nports = \"%d\"\nupstream = [\"10.0.0.5\"]\n", port)
	}
	if _, err := Parse("c.toml", []byte(text), nil); err != nil {
		t.Fatal(err)
	}
	text += "[[route]]\nports = \"65535\"\naction = \"refuse\"\n"
	_, err := Parse("c.toml", []byte(text), nil)
	if err == nil || !strings.Contains(err.Error(), "counters for 16384 only") {
		t.Errorf("one rule too many: %v", err)
	}
}
