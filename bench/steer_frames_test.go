package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestFrames checks addresses, lengths and checksums of random frames.
func TestFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for protocol, build := range map[byte]frameBuilder{protocolUDP: udpFrame, protocolTCP: synFrame} {
		for _, f := range steerFamilies {
			seen := make(map[netip.AddrPort]bool)
			few := netip.PrefixFrom(f.served.Addr(), f.unit-12)
			for _, b := range f.newFlowFrames(5000, addresses, 0, build, rng) {
				src, dst, transport := parseFrame(t, protocol, b)
				if !f.clients.Contains(src) || !few.Contains(dst) {
					t.Fatalf("%s: frame from %s to %s", f.name, src, dst)
				}
				pseudo := append(src.AsSlice(), dst.AsSlice()...)
				if sum := checksum(uint32(int(protocol)+len(transport)), pseudo, transport); sum != 0 {
					t.Fatalf("%s: the checksum of protocol %d is off by %#x", f.name, protocol, sum)
				}
				if to := binary.BigEndian.Uint16(transport[2:]); to == 0 {
					t.Fatal("port 0")
				}
				client := netip.AddrPortFrom(src, binary.BigEndian.Uint16(transport))
				if seen[client] {
					t.Fatalf("%s: two flows of one client", f.name)
				}
				seen[client] = true
			}
		}
	}
}

// parseFrame returns what the headers before a transport protocol's say, and the rest without padding.
func parseFrame(t *testing.T, protocol byte, b frame) (src, dst netip.Addr, transport []byte) {
	t.Helper()
	ip := b[14:]
	next, length, header := ip[9], int(binary.BigEndian.Uint16(ip[2:])), 20
	addrs := ip[12:20]
	if binary.BigEndian.Uint16(b[12:]) == 0x86dd {
		next, length, header = ip[6], 40+int(binary.BigEndian.Uint16(ip[4:])), 40
		addrs = ip[8:40]
	} else if checksum(0, ip[:20]) != 0 {
		t.Fatal("wrong IPv4 header checksum")
	}
	if next != protocol || length < len(ip)-22 || length > len(ip) {
		t.Fatalf("protocol %d, %d bytes of %d", next, length, len(ip))
	}
	src, _ = netip.AddrFromSlice(addrs[:len(addrs)/2])
	dst, _ = netip.AddrFromSlice(addrs[len(addrs)/2:])
	return src, dst, ip[header:length]
}

// TestPartsHoldDestinations checks that each table size holds every destination, and no more than it should.
func TestPartsHoldDestinations(t *testing.T) {
	for _, f := range steerFamilies {
		for _, n := range []int{1, 1000, destinations} {
			parts := f.parts(n)
			each := destinations / n // of consecutive destinations that a part holds at least
			for _, i := range []int{0, 1, destinations / 2, destinations - 1} {
				addr := f.destination(i)
				if !f.served.Contains(addr) {
					t.Errorf("%s: destination %d, %s, is not served", f.name, i, addr)
				}
				holders := 0
				for _, p := range parts[:min(n, i/each+1)] {
					if p.Contains(addr) {
						holders++
					}
				}
				if holders != 1 {
					t.Errorf("%s: %d of %d parts hold destination %d", f.name, holders, n, i)
				}
			}
		}
		if got := f.parts(1)[0]; got != f.served {
			t.Errorf("%s: one part is %s, want %s", f.name, got, f.served)
		}
	}
}
