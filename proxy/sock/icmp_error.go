package sock

import "encoding/binary"

// ICMPKind is what an ICMP error says, in words that both families have.
type ICMPKind uint8

const (
	ICMPPortUnreachable ICMPKind = iota // nobody listens on the port
	ICMPHostUnreachable                 // no way leads to the address
	ICMPProhibited                      // a filter is in the way
	ICMPTooBig                          // the packet is longer than MTU and may not be cut
)

// ICMPError is an ICMP or ICMPv6 error about a UDP datagram. Whoever knows the addresses and ports of a datagram can
// forge one.
type ICMPError struct {
	Kind     ICMPKind
	MTU      int    // with ICMPTooBig: the longest packet that passes, in bytes, with its IP header
	Src, Dst Addr   // of the datagram, of one family
	HopLimit uint8  // that the datagram had left, IPv4's TTL
	Length   uint16 // the datagram's own length field: its UDP header and content, in bytes
	Checksum uint16 // the datagram's; 0 with IPv4: none
	Payload  []byte // the beginning of the content, as far as it was quoted
}

// ipHeader returns how long the IP header of a datagram to a is, without options and extension headers.
func ipHeader(a *Addr) int {
	if a.Is4() {
		return ipv4Header
	}
	return ipv6Header
}

// Least MTUs that there are: RFC 791, section 3.2, and RFC 8200, section 5.
const (
	minMTU4 = 68
	minMTU6 = 1280
)

// hopLimit is what a datagram is taken to have left that came through a UDP socket, which does not tell. Nobody relies on
// it.
const hopLimit = 64

// TooBig returns the error for a datagram from src to dst, whose content may have no more than limit bytes.
func TooBig(src, dst *Addr, payload []byte, limit int) ICMPError {
	header := headerOf(src, dst, payload)
	return ICMPError{Kind: ICMPTooBig, MTU: PacketSize(dst, limit), Src: *src, Dst: *dst, HopLimit: hopLimit,
		Length: uint16(udpHeader + len(payload)), Checksum: binary.BigEndian.Uint16(header[6:]), Payload: payload}
}

// PacketSize returns how long the packet to dst is that carries a datagram of so many bytes of content.
func PacketSize(dst *Addr, payload int) int { return ipHeader(dst) + udpHeader + payload }

// Readdress makes e, which is about a datagram that a proxy sent, the error about the datagram that the proxy had
// received: from src to dst, which are of one family, without what the proxy put before its content and with what it took
// off there, both of even length. Addresses, ports, length, checksum and MTU become those of that datagram.
func (e *ICMPError) Readdress(src, dst *Addr, put, taken []byte) {
	old := e.identity(put)
	e.MTU += ipHeader(dst) - ipHeader(&e.Dst) - len(put) + len(taken)
	e.Src, e.Dst = *src, *dst
	e.Length = uint16(min(max(int(e.Length), udpHeader+len(put))-len(put)+len(taken), 1<<16-1))
	e.Payload = e.Payload[min(len(put), len(e.Payload)):]
	if len(taken) > 0 {
		e.Payload = append(taken, e.Payload...)
	}
	if e.Dst.Is4() {
		e.MTU = max(e.MTU, minMTU4)
	} else {
		e.MTU = max(e.MTU, minMTU6)
	}
	if e.Checksum != 0 {
		e.Checksum = replaceInChecksum(e.Checksum, old, e.identity(taken))
	}
}

// identity returns the sum over the part of a datagram that Readdress changes.
func (e *ICMPError) identity(head []byte) uint16 {
	var fields [8]byte // both ports, and the length, which is in the pseudo header too
	binary.BigEndian.PutUint16(fields[0:], e.Src.Port)
	binary.BigEndian.PutUint16(fields[2:], e.Dst.Port)
	binary.BigEndian.PutUint16(fields[4:], e.Length)
	binary.BigEndian.PutUint16(fields[6:], e.Length)
	src, _ := e.Src.wire()
	dst, _ := e.Dst.wire()
	return sum(0).add(src[:]).add(dst[:]).add(fields[:]).add(head).fold()
}

// replaceInChecksum returns a UDP checksum after a part of the sum over the datagram has changed (RFC 1624, equation 3).
func replaceInChecksum(checksum, old, new uint16) uint16 {
	s := uint32(^checksum) + uint32(^old) + uint32(new)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	if c := ^uint16(s); c != 0 {
		return c
	}
	return 0xffff
}
