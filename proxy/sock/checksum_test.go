package sock

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// referenceChecksum is RFC 768 word for word: a sum of 16-bit words over the pseudo header, header and data.
func referenceChecksum(src, dst, datagram []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
	}
	add(src)
	add(dst)
	add([]byte{0, 17, byte(len(datagram) >> 8), byte(len(datagram))})
	add(datagram)
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}

// TestChecksum compares random datagrams of both families with the reference.
func TestChecksum(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var src, dst Addr
		wire := fill(rnd, &src, &dst)
		head := make([]byte, 2*rnd.IntN(30))
		payload := make([]byte, rnd.IntN(200))
		for _, b := range [][]byte{head, payload} {
			fillBytes(rnd, b)
		}
		checkChecksum(t, src, dst, wire, head, payload)
	}
}

// fill makes two random addresses of one family, and returns how many bytes of them are on the wire.
func fill(rnd *rand.Rand, src, dst *Addr) (wire int) {
	wire = 16
	if rnd.IntN(2) == 0 {
		wire = 4
	}
	for _, a := range []*Addr{src, dst} {
		copy(a.IP[:], mappedPrefix[:])
		fillBytes(rnd, a.IP[16-wire:])
		a.Port = uint16(rnd.Uint32())
	}
	return wire
}

// fillBytes makes long runs of 0x00 and 0xff likely, which carry in every addition or in none.
func fillBytes(rnd *rand.Rand, b []byte) {
	kind := rnd.IntN(4)
	for i := range b {
		switch kind {
		case 0:
			b[i] = 0
		case 1:
			b[i] = 0xff
		default:
			b[i] = byte(rnd.Uint32())
		}
	}
}

func checkChecksum(t *testing.T, src, dst Addr, wire int, head, payload []byte) {
	t.Helper()
	var header [udpHeader]byte
	binary.BigEndian.PutUint16(header[0:], src.Port)
	binary.BigEndian.PutUint16(header[2:], dst.Port)
	binary.BigEndian.PutUint16(header[4:], uint16(udpHeader+len(head)+len(payload)))
	datagram := append(append(append([]byte(nil), header[:]...), head...), payload...)
	want := referenceChecksum(src.IP[16-wire:], dst.IP[16-wire:], datagram)
	if got := udpChecksum(&src.IP, &dst.IP, &header, head, payload); got != want {
		t.Fatalf("checksum %04x, want %04x: %v to %v, %x | %x", got, want, src.AddrPort(), dst.AddrPort(), head, payload)
	}
}

// TestChecksumZero finds datagrams whose sum is zero: the checksum is then sent as 0xffff.
func TestChecksumZero(t *testing.T) {
	for _, src := range []Addr{
		{IP: [16]byte{10: 0xff, 11: 0xff, 12: 198, 13: 18, 15: 1}, Port: 53},
		{IP: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}, Port: 53},
	} {
		header := [udpHeader]byte{1: 53, 3: 53, 5: udpHeader + 2}
		var payload [2]byte
		rest := udpChecksum(&src.IP, &src.IP, &header, nil, payload[:])
		binary.BigEndian.PutUint16(payload[:], rest) // now the sum is 0xffff and its complement 0
		if got := udpChecksum(&src.IP, &src.IP, &header, nil, payload[:]); got != 0xffff {
			t.Errorf("checksum %04x, want ffff", got)
		}
	}
}

// TestChecksumLong compares the longest datagrams, in which carries add up.
func TestChecksumLong(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for n := 65507 - 40; n <= 65507; n++ {
		var src, dst Addr
		wire := fill(rnd, &src, &dst)
		payload := make([]byte, n)
		fillBytes(rnd, payload)
		checkChecksum(t, src, dst, wire, nil, payload)
	}
}
