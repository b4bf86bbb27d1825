package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// pack returns a name in wire format as miekg/dns makes it.
func pack(t testing.TB, name string) []byte {
	t.Helper()
	b := make([]byte, 256)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b[:n]
}

func TestNameParse(t *testing.T) {
	long := strings.Repeat("abcdefg.", 31) + "abcde." // 255 bytes on the wire
	for _, text := range []string{
		".", "com.", "Example.COM.", "a.b.c.d.e.f.", strings.Repeat("a.", 127), long,
		strings.Repeat("x", 63) + ".", `\000\255\@\[\\z.AZ.az.`, "@A`[az{.",
	} {
		packet := append([]byte("junk"), pack(t, text)...)
		var n Name
		end, ok := n.Parse(append(packet, 9, 9), 4)
		if !ok || end != len(packet) {
			t.Errorf("%s: end %d, %v", text, end, ok)
			continue
		}
		want := pack(t, lowerASCII(text))
		if !bytes.Equal(n.Wire(), want) {
			t.Errorf("%s: %q, want %q", text, n.Wire(), want)
		}
		checkSuffixes(t, &n)
		back, again := pack(t, n.String()), n.Wire()
		if !bytes.Equal(back, again) {
			t.Errorf("%s: printed as %s", text, n.String())
		}
	}
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// checkSuffixes walks the labels of a name both ways.
func checkSuffixes(t *testing.T, n *Name) {
	t.Helper()
	rest := n.Wire()
	for i := range n.Labels() + 1 {
		if !bytes.Equal(n.Suffix(i), rest) {
			t.Fatalf("%s: suffix %d is %q, want %q", n, i, n.Suffix(i), rest)
		}
		rest = rest[min(1+int(rest[0]), len(rest)):]
	}
	if len(rest) != 0 {
		t.Errorf("%s: %d labels leave %q", n, n.Labels(), rest)
	}
}

func TestNameParseRejects(t *testing.T) {
	tooLong := append(bytes.Repeat([]byte{1, 'a'}, 127), 1, 'a', 0)
	for _, b := range [][]byte{
		{}, {1}, {3, 'a', 'b'}, {1, 'a'}, {0xC0, 0}, {1, 'a', 0xC0, 0}, {64}, append([]byte{64}, make([]byte, 70)...),
		{0x80, 0}, tooLong, bytes.Repeat([]byte{63}, 300),
	} {
		var n Name
		if end, ok := n.Parse(b, 0); ok {
			t.Errorf("%q was taken, up to %d", b, end)
		}
	}
}

func TestNameFollow(t *testing.T) {
	msg := append(make([]byte, 12), pack(t, "Example.com.")...) // at 12; "com" at 20
	host := len(msg)
	msg = append(msg, 3, 'w', 'w', 'w', 0xC0, 12)
	bare := len(msg)
	msg = append(msg, 0xC0, byte(host))
	for _, c := range []struct {
		at, local int
		want      string
	}{{12, 13, "example.com."}, {20, 5, "com."}, {host, 4, "www.example.com."}, {bare, 0, "www.example.com."}} {
		var n Name
		local, ok := n.Follow(msg, c.at)
		if !ok || local != c.local || n.String() != c.want {
			t.Errorf("at %d: %s, %d bytes of its own, %v", c.at, &n, local, ok)
		}
	}
	for _, b := range []string{"\xC0\x00", "\xC0\x05\x00", "\xC0", "\x01a", "", "\x40a\x00"} {
		var n Name
		if _, ok := n.Follow([]byte(b), 0); ok {
			t.Errorf("%q was taken", b)
		}
	}
}

func TestNameJoin(t *testing.T) {
	var n Name
	if !n.Join([]byte("\x01A\x01b"), pack(t, "C.d.")) || n.String() != "a.b.c.d." {
		t.Errorf("got %s", &n)
	}
	labels := bytes.Repeat([]byte{1, 'a'}, 120)
	if !n.Join(labels, pack(t, "a.a.a.a.a.a.a.")) || n.Len() != MaxName {
		t.Errorf("the longest name has %d bytes", n.Len())
	}
	if n.Join(labels, pack(t, "a.a.a.a.a.a.aa.")) {
		t.Error("a longer name was taken")
	}
}

func TestIsBelow(t *testing.T) {
	for _, c := range []struct {
		name, ancestor string
		want           bool
	}{
		{"a.b.", "b.", true}, {"A.B.", "b.", true}, {"b.", "b.", true}, {"b.", "a.b.", false}, {"ab.", "b.", false},
		{"a.", ".", true}, {".", ".", true}, {"a.c.", "b.", false},
	} {
		if got := IsBelow(pack(t, c.name), pack(t, c.ancestor)); got != c.want {
			t.Errorf("%s below %s: %v", c.name, c.ancestor, got)
		}
	}
}

func BenchmarkNameParse(b *testing.B) {
	for _, name := range []string{"www.example.com.", "a.somewhat.longer.name.below.Example.Test."} {
		b.Run(fmt.Sprint(len(name)), func(b *testing.B) {
			packet := pack(b, name)
			var n Name
			for b.Loop() {
				n.Parse(packet, 0)
			}
		})
	}
}
