package sock

import (
	"encoding/binary"
	"math/bits"
)

// sum is a running ones' complement sum (RFC 1071) of data read as little-endian words. The byte order makes no
// difference until the sum is folded (RFC 1071, section 2B).
type sum uint64

// add adds b. Only the last part that is added may have an odd length.
func (s sum) add(b []byte) sum {
	acc, carry := uint64(s), uint64(0)
	for ; len(b) >= 32; b = b[32:] {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[24:]), carry)
	}
	for ; len(b) >= 8; b = b[8:] {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
	}
	var tail [8]byte
	copy(tail[:], b)
	acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(tail[:]), carry)
	return sum(acc + carry) // cannot overflow: the tail is below 2^56, so a sum that carried is a small one
}

// fold returns the sum as a 16-bit number.
func (s sum) fold() uint16 {
	v := uint64(s)
	v = v>>32 + v&0xffffffff
	v = v>>32 + v&0xffffffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return bits.ReverseBytes16(uint16(v))
}

const (
	protocolUDP = 17 // RFC 768
	udpHeader   = 8  // bytes: source port, destination port, length, checksum
)

// headerOf returns the UDP header of a datagram.
func headerOf(src, dst *Addr, payload []byte) (header [udpHeader]byte) {
	binary.BigEndian.PutUint16(header[0:], src.Port)
	binary.BigEndian.PutUint16(header[2:], dst.Port)
	binary.BigEndian.PutUint16(header[4:], uint16(udpHeader+len(payload)))
	from, _ := src.wire()
	to, _ := dst.wire()
	binary.BigEndian.PutUint16(header[6:], udpChecksum(&from, &to, &header, nil, payload))
	return header
}

// udpChecksum returns the checksum of a UDP datagram: header, with its checksum field zero, head and payload. head has
// an even length. The addresses are 16 bytes even for IPv4: a mapped one differs from its four bytes by 0xffff, which
// is zero in ones' complement. A checksum that comes out as zero is sent as 0xffff, because zero says that there is
// none (RFC 768), which IPv6 forbids (RFC 8200, section 8.1).
func udpChecksum(src, dst *[16]byte, header *[udpHeader]byte, head, payload []byte) uint16 {
	pseudo := [4]byte{1: protocolUDP, 2: header[4], 3: header[5]}
	s := sum(0).add(src[:]).add(dst[:]).add(pseudo[:]).add(header[:])
	if c := ^s.add(head).add(payload).fold(); c != 0 {
		return c
	}
	return 0xffff
}
