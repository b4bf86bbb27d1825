package cookie

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secret(t *testing.T, s string) Secret { return Secret(unhex(t, s)) }

const (
	oldSecret = "dd3bdf9344b678b185a6f5cb60fca715"
	newSecret = "445536bcd2513298075a5d379663c962"
)

// The test vectors of RFC 9018 appendix A.
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		name          string
		secrets       []string
		client        string
		now           uint32
		option, reply string
		valid         bool
	}{
		{
			name: "A.1 learning a new server cookie", secrets: []string{"e5e973e5a6b2a43f48e7dc849e37bfcf"},
			client: "198.51.100.100", now: 1559731985, option: "2464c4abcf10c957",
			reply: "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		},
		{
			name: "A.2 the same client, now with its server cookie", secrets: []string{"e5e973e5a6b2a43f48e7dc849e37bfcf"},
			client: "198.51.100.100", now: 1559734385, option: "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
			reply: "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", valid: true,
		},
		{
			name: "A.3 another client, a renewed server cookie", secrets: []string{"e5e973e5a6b2a43f48e7dc849e37bfcf"},
			client: "203.0.113.203", now: 1559727985, option: "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			reply: "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", valid: true,
		},
		{
			name: "A.4 IPv6, a rolled-over secret", secrets: []string{newSecret, oldSecret},
			client: "2001:db8:220:1:59de:d0f4:8769:82b8", now: 1559741961,
			option: "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			reply:  "22681ab97d52c298010000005cf7c609a6bb79d16625507a", valid: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var secrets []Secret
			for _, s := range c.secrets {
				secrets = append(secrets, secret(t, s))
			}
			var out [Len]byte
			valid := NewJar(secrets).Answer(&out, unhex(t, c.option), netip.MustParseAddr(c.client), c.now)
			if valid != c.valid || hex.EncodeToString(out[:]) != c.reply {
				t.Errorf("%x, valid %v; want %s, %v", out, valid, c.reply, c.valid)
			}
		})
	}
}

// A cookie that is stale, from the future, of another client or another secret proves nothing.
func TestInvalid(t *testing.T) {
	const made = 1559731985
	client := netip.MustParseAddr("192.0.2.1")
	jar := NewJar([]Secret{secret(t, newSecret)})
	var good [Len]byte
	if jar.Answer(&good, unhex(t, "2464c4abcf10c957"), client, made) {
		t.Error("a client's cookie alone is valid")
	}
	forged := good
	forged[Len-1] ^= 1
	for _, c := range []struct {
		name   string
		option []byte
		client string
		now    uint32
		want   bool
	}{
		{"at once", good[:], "192.0.2.1", made, true},
		{"mapped", good[:], "::ffff:192.0.2.1", made, true},
		{"after an hour", good[:], "192.0.2.1", made + maxAge, true},
		{"stale", good[:], "192.0.2.1", made + maxAge + 1, false},
		{"by a clock that is behind", good[:], "192.0.2.1", made - maxFuture, true},
		{"from the future", good[:], "192.0.2.1", made - maxFuture - 1, false},
		{"another client", good[:], "192.0.2.2", made, false},
		{"forged", forged[:], "192.0.2.1", made, false},
		{"short", good[:Len-1], "192.0.2.1", made, false},
		{"long", append(good[:], 0), "192.0.2.1", made, false},
	} {
		var out [Len]byte
		if got := jar.Answer(&out, c.option, netip.MustParseAddr(c.client), c.now); got != c.want {
			t.Errorf("%s: valid %v", c.name, got)
		}
	}
	if NewJar([]Secret{secret(t, oldSecret)}).Answer(new([Len]byte), good[:], client, made) {
		t.Error("a cookie by another secret is valid")
	}
}

// SipHash-2-4 of 0, 1, 2, ... under the key 00 01 .. 0f: the first vectors of its reference implementation.
func TestSiphash(t *testing.T) {
	var key Secret
	for i := range key {
		key[i] = byte(i)
	}
	in := make([]byte, 64)
	for i := range in {
		in[i] = byte(i)
	}
	for n, want := range []uint64{
		0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d, 0xcf2794e0277187b7,
		0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462, 0x9e0082df0ba9e4b0,
	} {
		if got := siphash(&key, in[:n]); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}
