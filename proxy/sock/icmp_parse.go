package sock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Bytes of headers, without options.
const (
	ipv4Header     = 20 // RFC 791
	ipv6Header     = 40 // RFC 8200
	fragmentHeader = 8  // RFC 8200, section 4.5
	icmpHeader     = 8  // RFC 792 and RFC 4443: type, code, checksum, and four bytes that depend on these
)

// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443) errors. Their codes are read in icmpKind4 and icmpKind6.
const (
	icmpUnreachable   = 3
	icmpv6Unreachable = 1
	icmpv6TooBig      = 2
)

const codeTooBig4 = 4

// icmpKind4 returns what a code of type 3 says (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1).
func icmpKind4(code byte) ICMPKind {
	switch code {
	case 2, 3: // protocol, port
		return ICMPPortUnreachable
	case codeTooBig4:
		return ICMPTooBig
	case 9, 10, 13:
		return ICMPProhibited
	}
	return ICMPHostUnreachable
}

// icmpKind6 returns what a code of type 1 says (RFC 4443, section 3.1).
func icmpKind6(code byte) ICMPKind {
	switch code {
	case 4:
		return ICMPPortUnreachable
	case 1, 5:
		return ICMPProhibited
	}
	return ICMPHostUnreachable
}

// parseICMP4 reads a packet with an ICMP error about a UDP datagram, and reports false if it is none, or one that does
// not say which: a fragment other than the first.
func parseICMP4(packet []byte) (e ICMPError, ok bool) {
	message, _, ok := cutIPv4(packet)
	if !ok || len(message) < icmpHeader || message[0] != icmpUnreachable {
		return e, false
	}
	e.Kind = icmpKind4(message[1])
	if e.Kind == ICMPTooBig {
		if e.MTU = int(binary.BigEndian.Uint16(message[6:])); e.MTU == 0 {
			return e, false // a router older than RFC 1191 leaves everybody guessing
		}
	}
	quote := message[icmpHeader:]
	datagram, protocol, ok := cutIPv4(quote)
	if !ok || protocol != unix.IPPROTO_UDP {
		return e, false
	}
	e.HopLimit = quote[8]
	e.Src.IP, e.Dst.IP = mapped(quote[12:]), mapped(quote[16:])
	return e, e.parseUDP(datagram)
}

func mapped(ip []byte) (a [16]byte) {
	copy(a[:], mappedPrefix[:])
	copy(a[12:], ip[:4])
	return a
}

// cutIPv4 takes the header off a packet, which may end anywhere behind it.
func cutIPv4(packet []byte) (content []byte, protocol byte, ok bool) {
	if len(packet) < ipv4Header || packet[0]>>4 != 4 {
		return nil, 0, false
	}
	length := int(packet[0]&0xf) * 4
	offset := binary.BigEndian.Uint16(packet[6:]) & 0x1fff
	if length < ipv4Header || length > len(packet) || offset != 0 {
		return nil, 0, false
	}
	return packet[length:], packet[9], true
}

// parseICMP6 is parseICMP4 for an ICMPv6 message, which comes without the header of its packet.
func parseICMP6(message []byte) (e ICMPError, ok bool) {
	if len(message) < icmpHeader+ipv6Header {
		return e, false
	}
	switch message[0] {
	case icmpv6Unreachable:
		e.Kind = icmpKind6(message[1])
	case icmpv6TooBig:
		e.Kind = ICMPTooBig
		e.MTU = int(min(binary.BigEndian.Uint32(message[4:]), 1<<16))
	default:
		return e, false
	}
	quote := message[icmpHeader:]
	next, datagram := quote[6], quote[ipv6Header:]
	if next == unix.IPPROTO_FRAGMENT && len(datagram) >= fragmentHeader && binary.BigEndian.Uint16(datagram[2:])>>3 == 0 {
		next, datagram = datagram[0], datagram[fragmentHeader:]
	}
	if quote[0]>>4 != 6 || next != unix.IPPROTO_UDP {
		return e, false
	}
	e.HopLimit = quote[7]
	e.Src.IP, e.Dst.IP = [16]byte(quote[8:]), [16]byte(quote[24:])
	return e, e.parseUDP(datagram)
}

// parseUDP reads the datagram that an error quotes.
func (e *ICMPError) parseUDP(b []byte) bool {
	if len(b) < udpHeader {
		return false
	}
	e.Src.Port = binary.BigEndian.Uint16(b[0:])
	e.Dst.Port = binary.BigEndian.Uint16(b[2:])
	e.Length = binary.BigEndian.Uint16(b[4:])
	e.Checksum = binary.BigEndian.Uint16(b[6:])
	e.Payload = b[udpHeader:]
	return e.Length >= udpHeader
}
