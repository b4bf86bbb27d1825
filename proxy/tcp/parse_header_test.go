package tcp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/conf"
)

// binaryHeader returns a header of version 2 with so many bytes behind its fixed part.
func binaryHeader(command, transport byte, length int, addrs string) string {
	b := append([]byte(signatureV2), command, transport, byte(length>>8), byte(length))
	rest := make([]byte, length)
	n, err := hex.Decode(rest, []byte(strings.ReplaceAll(addrs, " ", "")))
	if err != nil || n > length {
		panic(addrs)
	}
	return string(append(b, rest...))
}

const (
	hexTCP4 = "c0000201 c6336401 dc04 01bb"                                                   // 192.0.2.1:56324 to 198.51.100.1:443
	hexTCP6 = "20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 01bb"   // 2001:db8::1
	hexMap6 = "00000000000000000000ffff c0000201 00000000000000000000ffff c6336401 0000 ffff" // ::ffff:192.0.2.1
)

// wholeHeaders are complete ones, and the client that each names; "" is the sender itself.
var wholeHeaders = map[string]struct{ text, client string }{
	"TCP4":           {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324"},
	"TCP6":           {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1"},
	"TCP6 mapped":    {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 0 443\r\n", "192.0.2.1:0"},
	"TCP6 longest":   {"PROXY TCP6 " + longest + " " + longest + " 65535 65535\r\n", "[" + longest + "]:65535"},
	"UNKNOWN":        {"PROXY UNKNOWN\r\n", ""},
	"UNKNOWN, more":  {"PROXY UNKNOWN " + longest + " " + longest + " 65535 65535\r\n", ""},
	"v2 TCP4":        {binaryHeader(0x21, 0x11, 12, hexTCP4), "192.0.2.1:56324"},
	"v2 TCP6":        {binaryHeader(0x21, 0x21, 36, hexTCP6), "[2001:db8::1]:56324"},
	"v2 TCP6 mapped": {binaryHeader(0x21, 0x21, 36, hexMap6), "192.0.2.1:0"},
	"v2 extensions":  {binaryHeader(0x21, 0x11, 520, hexTCP4), "192.0.2.1:56324"},
	"v2 most":        {binaryHeader(0x21, 0x21, maxHeaderBytes-headerV2, hexTCP6), "[2001:db8::1]:56324"},
	"v2 LOCAL":       {binaryHeader(0x20, 0x00, 0, ""), ""},
	"v2 LOCAL, more": {binaryHeader(0x20, 0xff, 12, hexTCP4), ""},
	"v2 unspec":      {binaryHeader(0x21, 0x00, 0, ""), ""},
	"v2 UDP4":        {binaryHeader(0x21, 0x12, 12, hexTCP4), ""},
	"v2 UDP6":        {binaryHeader(0x21, 0x22, 36, hexTCP6), ""},
	"v2 unix stream": {binaryHeader(0x21, 0x31, 216, ""), ""},
	"v2 unix dgram":  {binaryHeader(0x21, 0x32, 216, ""), ""},
}

const longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

// badHeaders are what no more bytes can make good.
var badHeaders = map[string]string{
	"no header":           "GET / HTTP/1.1\r\n",
	"one byte":            "G",
	"lower case":          "proxy TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
	"no transport":        "PROXY \r\n",
	"unknown transport":   "PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n",
	"no addresses":        "PROXY TCP4\r\n",
	"no port":             "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
	"a word more":         "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
	"two spaces":          "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
	"space at the end":    "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
	"other family":        "PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
	"mixed families":      "PROXY TCP6 2001:db8::1 198.51.100.1 56324 443\r\n",
	"leading zero":        "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
	"sign":                "PROXY TCP4 192.0.2.1 198.51.100.1 56324 +443\r\n",
	"port too large":      "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
	"octal address":       "PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n",
	"zone":                "PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 443\r\n",
	"line feed only":      "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n" + strings.Repeat(" ", maxHeaderV1),
	"line too long":       "PROXY UNKNOWN " + strings.Repeat("x", maxHeaderV1),
	"v2 signature":        "\r\n\r\n\x00\r\nQUIX",
	"v2 version 1":        binaryHeader(0x11, 0x11, 12, hexTCP4),
	"v2 version 3":        binaryHeader(0x31, 0x11, 12, hexTCP4),
	"v2 command":          binaryHeader(0x22, 0x11, 12, hexTCP4),
	"v2 family":           binaryHeader(0x21, 0x41, 12, hexTCP4),
	"v2 transport":        binaryHeader(0x21, 0x13, 12, hexTCP4),
	"v2 half unspecified": binaryHeader(0x21, 0x10, 12, hexTCP4),
	"v2 short TCP4":       binaryHeader(0x21, 0x11, 11, ""),
	"v2 short TCP6":       binaryHeader(0x21, 0x21, 35, ""),
	"v2 too long":         binaryHeader(0x21, 0x11, maxHeaderBytes-headerV2+1, hexTCP4),
	"v2 LOCAL, too long":  binaryHeader(0x20, 0x00, 65535, ""),
}

// A header is complete with its last byte, whatever follows it, and until then it is the beginning of one.
func TestParseHeader(t *testing.T) {
	for name, c := range wholeHeaders {
		h, v := parseHeader([]byte(c.text + "\r\ndata"))
		if v != complete || h.size != len(c.text) {
			t.Errorf("%s: verdict %d, %d of %d bytes", name, v, h.size, len(c.text))
			continue
		}
		if h.local != (c.client == "") || !h.local && h.source.AddrPort().String() != c.client {
			t.Errorf("%s: client %s, local %v, want %q", name, h.source.AddrPort(), h.local, c.client)
		}
		for n := range len(c.text) {
			if _, v := parseHeader([]byte(c.text[:n])); v != incomplete {
				t.Fatalf("%s: verdict %d about the first %d bytes", name, v, n)
			}
		}
	}
}

func TestParseBadHeader(t *testing.T) {
	for name, text := range badHeaders {
		if _, v := parseHeader([]byte(text)); v != malformed {
			t.Errorf("%s: verdict %d", name, v)
		}
	}
}

// TestParseHeaderAllocates wants no memory for any header.
func TestParseHeaderAllocates(t *testing.T) {
	for name, c := range wholeHeaders {
		b := []byte(c.text)
		if n := testing.AllocsPerRun(100, func() { parseHeader(b) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What we send is what another implementation reads, and we ourselves.
func TestAppendHeader(t *testing.T) {
	const c4, c6, d4, d6 = "192.0.2.1:56324", "[2001:db8::1]:56324", "198.18.0.1:443", "[2001:db8:1::]:1"
	for _, c := range []struct{ client, dst, source, destination string }{
		{c4, d4, c4, d4},
		{c6, d6, c6, d6},
		{c4, d6, "[::ffff:192.0.2.1]:56324", d6},
		{c6, d4, c6, "[::ffff:198.18.0.1]:443"},
		{"[" + longest + "]:65535", "[" + longest + "]:65535", "[" + longest + "]:65535", "[" + longest + "]:65535"},
	} {
		for _, version := range []conf.ProxyProtocol{conf.ProxyV1, conf.ProxyV2, conf.ProxyV2First} {
			text := appendHeader(nil, version, addr(c.client), addr(c.dst))
			if len(text) > maxHeaderV1 {
				t.Errorf("%s to %s: %d bytes", c.client, c.dst, len(text))
			}
			h, v := parseHeader(text)
			if v != complete || h.size != len(text) || h.local || h.source != addr(c.client) {
				t.Errorf("%s to %s reads as %+v, verdict %d: %q", c.client, c.dst, h, v, text)
			}
			theirs, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(text)))
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			if theirs.Command != proxyproto.PROXY || !sameAddr(theirs.SourceAddr, c.source) || !sameAddr(theirs.DestinationAddr, c.destination) {
				t.Errorf("%q reads as %+v", text, theirs)
			}
		}
	}
}

// sameAddr compares an address of another implementation, which has its own idea of IPv4-mapped ones.
func sameAddr(a net.Addr, want string) bool {
	got, w := a.(*net.TCPAddr).AddrPort(), netip.MustParseAddrPort(want)
	return got.Port() == w.Port() && got.Addr().Unmap() == w.Addr().Unmap()
}

// FuzzParseHeader wants a verdict that more bytes do not change, within the bounds, and a client that another
// implementation sees too.
func FuzzParseHeader(f *testing.F) {
	for _, c := range wholeHeaders {
		f.Add([]byte(c.text + "data"))
	}
	for _, text := range badHeaders {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := parseHeader(b)
		switch {
		case v == complete && (h.size > len(b) || h.size > maxHeaderBytes):
			t.Fatalf("a header of %d bytes in %d", h.size, len(b))
		case v == incomplete && len(b) >= maxHeaderBytes:
			t.Fatalf("%d bytes are not enough", len(b))
		case v != incomplete:
			again, w := parseHeader(append(bytes.Clone(b), "PROXY"...))
			if w != v || again != h && v == complete {
				t.Fatalf("more bytes turn verdict %d, %+v into %d, %+v", v, h, w, again)
			}
		}
		if v == complete && !h.local {
			compareHeader(t, b[:h.size], h)
		}
	})
}

// compareHeader wants go-proxyproto to find the same client, if it takes the header: of extensions it is stricter.
func compareHeader(t *testing.T, text []byte, h header) {
	theirs, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		return
	}
	src, ok := theirs.SourceAddr.(*net.TCPAddr)
	if !ok || !sameAddr(src, h.source.AddrPort().String()) {
		t.Errorf("%q: client %s, go-proxyproto has %v", text, h.source.AddrPort(), theirs.SourceAddr)
	}
}
