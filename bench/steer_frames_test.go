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
	for _, f := range steerFamilies {
		seen := make(map[[18]byte]bool)
		for _, b := range f.newFlowFrames(5000, 0, rng) {
			src, dst, udp := parseFrame(t, b)
			if !f.clients.Contains(src) || !f.served.Contains(dst) {
				t.Fatalf("%s: frame from %s to %s", f.name, src, dst)
			}
			pseudo := append(src.AsSlice(), dst.AsSlice()...)
			if sum := checksum(uint32(17+len(udp)), pseudo, udp); sum != 0 {
				t.Fatalf("%s: UDP checksum is off by %#x", f.name, sum)
			}
			if to := binary.BigEndian.Uint16(udp[2:]); to == 0 {
				t.Fatal("port 0")
			}
			var client [18]byte
			copy(client[:], src.AsSlice())
			copy(client[16:], udp[:2])
			if seen[client] {
				t.Fatalf("%s: two flows of one client", f.name)
			}
			seen[client] = true
		}
	}
}

func parseFrame(t *testing.T, b frame) (src, dst netip.Addr, udp []byte) {
	t.Helper()
	ip := b[14:]
	if binary.BigEndian.Uint16(b[12:]) == 0x86dd {
		if int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-40 {
			t.Fatal("wrong IPv6 payload length")
		}
		return netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[40:]
	}
	if checksum(0, ip[:20]) != 0 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) {
		t.Fatal("wrong IPv4 header checksum or length")
	}
	return netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[20:]
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
