package sock

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// icmpCases are the addresses of a datagram that a proxy has sent, and of the one that it had received.
var icmpCases = []struct{ sent, received [2]string }{
	{[2]string{"10.2.0.1:10000", "10.2.0.2:7777"}, [2]string{"192.0.2.9:4000", "198.18.0.1:53"}},
	{[2]string{"10.2.0.1:10000", "10.2.0.2:7777"}, [2]string{"[2001:db8:ffff::9]:4000", "[2001:db8::1]:53"}},
	{[2]string{"[fd00:2::1]:10000", "[fd00:2::2]:7777"}, [2]string{"192.0.2.9:4000", "198.18.0.1:53"}},
	{[2]string{"[fd00:2::1]:10000", "[fd00:2::2]:7777"}, [2]string{"[2001:db8:ffff::9]:4000", "[2001:db8::1]:53"}},
}

func addrs(pair [2]string) (src, dst Addr) {
	return AddrFrom(netip.MustParseAddrPort(pair[0])), AddrFrom(netip.MustParseAddrPort(pair[1]))
}

// checksumOf returns the checksum of a datagram by the slow way.
func checksumOf(src, dst *Addr, content []byte) uint16 {
	header := headerOf(src, dst, content)
	return binary.BigEndian.Uint16(header[6:])
}

// packetOf returns the error as the raw socket of its family would read it.
func packetOf(e *ICMPError) []byte {
	if e.Src.Is4() {
		outer := ICMPError{Src: e.Dst, Dst: e.Src}
		packet := appendIPv4(nil, &outer)
		packet[9] = 1 // ICMP
		return appendICMP4(packet, e)
	}
	return appendICMP6(nil, e)
}

func parsePacket(e *ICMPError, packet []byte) (ICMPError, bool) {
	if e.Src.Is4() {
		return parseICMP4(packet)
	}
	return parseICMP6(packet)
}

// TestReaddress builds errors about random datagrams, has them read and readdressed, and wants what one about the
// datagram without its head would have been.
func TestReaddress(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		c := icmpCases[rnd.IntN(len(icmpCases))]
		head, content := make([]byte, 2*rnd.IntN(27)), make([]byte, rnd.IntN(400))
		fillBytes(rnd, head)
		fillBytes(rnd, content)
		whole := append(bytes.Clone(head), content...)
		src, dst := addrs(c.sent)
		sent := ICMPError{Kind: ICMPKind(rnd.IntN(4)), Src: src, Dst: dst, HopLimit: 61, Length: uint16(udpHeader + len(whole)),
			Checksum: checksumOf(&src, &dst, whole), Payload: whole}
		if sent.Kind == ICMPTooBig {
			sent.MTU = 1400
		}
		got, ok := parsePacket(&sent, packetOf(&sent))
		if !ok || got.Kind != sent.Kind || got.MTU != sent.MTU || got.Src != src || got.Dst != dst ||
			got.HopLimit != 61 || got.Length != sent.Length || got.Checksum != sent.Checksum || !bytes.Equal(got.Payload, whole) {
			t.Fatalf("%v: read %+v, want %+v", ok, got, sent)
		}
		client, original := addrs(c.received)
		got.Readdress(&client, &original, head, nil)
		if got.Src != client || got.Dst != original || int(got.Length) != udpHeader+len(content) ||
			!bytes.Equal(got.Payload, content) || got.Checksum != checksumOf(&client, &original, content) {
			t.Fatalf("head of %d, content of %d: %+v", len(head), len(content), got)
		}
		if want := max(1400-ipHeader(&dst)+ipHeader(&original)-len(head), 0); got.Kind == ICMPTooBig && got.MTU != want {
			t.Fatalf("MTU %d, want %d", got.MTU, want)
		}
		got.Readdress(&src, &dst, nil, bytes.Clone(head))
		if got.Src != src || got.Dst != dst || got.Length != sent.Length || got.Kind == ICMPTooBig && got.MTU != 1400 ||
			got.Checksum != sent.Checksum || !bytes.Equal(got.Payload, whole) {
			t.Fatalf("back again: %+v, want %+v", got, sent)
		}
	}
}

// TestReaddressLeastMTU wants no MTU below what each family promises, and no checksum where there was none.
func TestReaddressLeastMTU(t *testing.T) {
	for _, c := range icmpCases {
		src, dst := addrs(c.sent)
		client, original := addrs(c.received)
		e := ICMPError{Kind: ICMPTooBig, MTU: 10, Src: src, Dst: dst, Length: udpHeader}
		e.Readdress(&client, &original, nil, nil)
		want := minMTU6
		if original.Is4() {
			want = minMTU4
		}
		if e.MTU != want || e.Checksum != 0 {
			t.Errorf("MTU %d, checksum %d", e.MTU, e.Checksum)
		}
	}
}

// TestLongQuote wants errors about long datagrams to stay within what passes everywhere.
func TestLongQuote(t *testing.T) {
	for i, c := range icmpCases {
		src, dst := addrs(c.sent)
		e := ICMPError{Src: src, Dst: dst, Length: udpHeader + 2000, Payload: make([]byte, 2000)}
		want := []int{maxICMP4, maxICMP6 - ipv6Header}[i/2]
		if got := len(packetOf(&e)); got != want {
			t.Errorf("%s: %d bytes, want %d", c.sent, got, want)
		}
	}
}

// TestNoICMPError reads what is none, or does not say what it is about.
func TestNoICMPError(t *testing.T) {
	for _, c := range []int{0, 2} {
		src, dst := addrs(icmpCases[c].sent)
		e := ICMPError{Kind: ICMPTooBig, MTU: 1400, Src: src, Dst: dst, Length: udpHeader + 8, Payload: make([]byte, 8)}
		good := packetOf(&e)
		for n := range len(good) - 8 { // without its content it still says which datagram is meant
			if got, ok := parsePacket(&e, good[:n]); ok {
				t.Errorf("%d bytes of %d are read as %+v", n, len(good), got)
			}
		}
		message := []int{ipv4Header, 0, 0}[c]
		for _, change := range []func(b []byte){
			func(b []byte) { b[message]++ },                              // type
			func(b []byte) { b[message+icmpHeader] = 0x75 },              // version of the quoted packet
			func(b []byte) { b[message+icmpHeader+[]int{9, 0, 6}[c]]++ }, // its protocol
		} {
			bad := bytes.Clone(good)
			change(bad)
			if got, ok := parsePacket(&e, bad); ok {
				t.Errorf("%x is read as %+v", bad, got)
			}
		}
	}
	src, dst := addrs(icmpCases[0].sent)
	later := packetOf(&ICMPError{Kind: ICMPTooBig, MTU: 1400, Src: src, Dst: dst, Length: udpHeader})
	later[ipv4Header+icmpHeader+7] = 1 // a fragment that is not the first
	if got, ok := parseICMP4(later); ok {
		t.Errorf("a later fragment is read as %+v", got)
	}
	ancient := packetOf(&ICMPError{Kind: ICMPTooBig, Src: src, Dst: dst, Length: udpHeader})
	if got, ok := parseICMP4(ancient); ok {
		t.Errorf("an error without an MTU is read as %+v", got)
	}
}

// FuzzICMP has whatever a network may deliver parsed, readdressed and built again.
func FuzzICMP(f *testing.F) {
	for _, c := range icmpCases {
		src, dst := addrs(c.sent)
		f.Add(packetOf(&ICMPError{Kind: ICMPTooBig, MTU: 1400, Src: src, Dst: dst, Length: udpHeader + 3, Payload: []byte("abc")}))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, parse := range []func([]byte) (ICMPError, bool){parseICMP4, parseICMP6} {
			e, ok := parse(packet)
			if !ok {
				continue
			}
			for _, c := range icmpCases {
				src, dst := addrs(c.received)
				told := e
				told.Readdress(&src, &dst, make([]byte, 52), make([]byte, 38))
				if n := len(packetOf(&told)); n > maxICMP6 {
					t.Errorf("an error of %d bytes", n)
				}
			}
		}
	})
}
