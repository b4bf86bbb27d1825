package e2e

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// packet is one received packet as far as these tests look into it.
type packet struct {
	about netip.AddrPort // the sender; for ICMP the destination of the packet that it is an answer to
	kind  string         // "SYN-ACK", "RST", "unreachable" (ICMP port unreachable), or "" for all else
}

const ethernetHeader = 14

// parsePacket reads an Ethernet frame without VLAN tag.
func parsePacket(frame []byte) (packet, bool) {
	ip, ok := parseIP(frame, ethernetHeader)
	if !ok {
		return packet{}, false
	}
	const portUnreachable4, portUnreachable6 = 3<<8 | 3, 1<<8 | 4 // type and code, RFC 792 and RFC 4443
	switch kind := binary.BigEndian.Uint16(ip.payload); {
	case ip.protocol == unix.IPPROTO_TCP:
		return packet{netip.AddrPortFrom(ip.src, kind), tcpKind(ip.payload[13])}, true
	case ip.protocol == unix.IPPROTO_ICMP && kind == portUnreachable4,
		ip.protocol == unix.IPPROTO_ICMPV6 && kind == portUnreachable6:
		return parseReturned(ip.payload)
	}
	return packet{}, false
}

// parseReturned reads the packet inside an ICMP error, of which the first 8 bytes after the IP header are there.
func parseReturned(icmp []byte) (packet, bool) {
	const icmpHeader = 8
	ip, ok := parseIP(icmp, icmpHeader)
	if !ok {
		return packet{}, false
	}
	return packet{netip.AddrPortFrom(ip.dst, binary.BigEndian.Uint16(ip.payload[2:])), "unreachable"}, true
}

// ipPacket is an IP header, and what follows it: 8 bytes or more, and 20 or more of TCP.
type ipPacket struct {
	src, dst netip.Addr
	protocol byte
	payload  []byte
}

// parseIP reads the IP packet at an offset. Extension headers of IPv6 are not among the packets looked for.
func parseIP(b []byte, offset int) (p ipPacket, ok bool) {
	if len(b) < offset+20 {
		return p, false
	}
	b = b[offset:]
	switch header := int(b[0]&15) * 4; {
	case b[0]>>4 == 4 && len(b) >= header:
		p = ipPacket{netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9], b[header:]}
	case b[0]>>4 == 6 && len(b) >= 40:
		p = ipPacket{netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[6], b[40:]}
	}
	least := 8
	if p.protocol == unix.IPPROTO_TCP {
		least = 20
	}
	return p, p.src.IsValid() && len(p.payload) >= least
}

func tcpKind(flags byte) string {
	const syn, rst, ack = 2, 4, 16
	switch {
	case flags&rst != 0:
		return "RST"
	case flags&(syn|ack) == syn|ack:
		return "SYN-ACK"
	}
	return ""
}
