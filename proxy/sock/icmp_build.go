package sock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// How long an error may be, with its IP header: as much as passes everywhere (RFC 1812, section 4.3.2.3; RFC 4443,
// section 2.4 c).
const (
	maxICMP4 = 576
	maxICMP6 = minMTU6
)

// codes4 and codes6 are a type and a code for each kind.
var (
	codes4 = [...][2]byte{ICMPPortUnreachable: {icmpUnreachable, 3}, ICMPHostUnreachable: {icmpUnreachable, 1},
		ICMPProhibited: {icmpUnreachable, 13}, ICMPTooBig: {icmpUnreachable, codeTooBig4}}
	codes6 = [...][2]byte{ICMPPortUnreachable: {icmpv6Unreachable, 4}, ICMPHostUnreachable: {icmpv6Unreachable, 3},
		ICMPProhibited: {icmpv6Unreachable, 1}, ICMPTooBig: {icmpv6TooBig, 0}}
)

// appendICMP4 appends the message of an error about an IPv4 datagram, without the IP header of its own packet.
func appendICMP4(b []byte, e *ICMPError) []byte {
	start := len(b)
	b = append(b, codes4[e.Kind][0], codes4[e.Kind][1], 0, 0, 0, 0, 0, 0)
	if e.Kind == ICMPTooBig {
		binary.BigEndian.PutUint16(b[start+6:], uint16(min(e.MTU, 1<<16-1)))
	}
	b = appendIPv4(b, e)
	b = e.appendUDP(b, maxICMP4-ipv4Header-(len(b)-start))
	binary.BigEndian.PutUint16(b[start+2:], ^sum(0).add(b[start:]).fold())
	return b
}

// appendIPv4 appends the header of the datagram's packet. Don't Fragment is set where the error would make no sense
// without.
func appendIPv4(b []byte, e *ICMPError) []byte {
	var flags byte
	if e.Kind == ICMPTooBig {
		flags = 0x40
	}
	start := len(b)
	b = append(b, 0x45, 0) // version and length in words, type of service
	b = binary.BigEndian.AppendUint16(b, uint16(min(ipv4Header+int(e.Length), 1<<16-1)))
	b = append(b, 0, 0, flags, 0, e.HopLimit, unix.IPPROTO_UDP, 0, 0)
	b = append(b, e.Src.IP[12:]...)
	b = append(b, e.Dst.IP[12:]...)
	binary.BigEndian.PutUint16(b[start+10:], ^sum(0).add(b[start:]).fold())
	return b
}

// appendICMP6 is appendICMP4 for IPv6. The kernel fills in the message's checksum (RFC 3542, section 3.1).
func appendICMP6(b []byte, e *ICMPError) []byte {
	start := len(b)
	b = append(b, codes6[e.Kind][0], codes6[e.Kind][1], 0, 0)
	mtu := 0
	if e.Kind == ICMPTooBig {
		mtu = e.MTU
	}
	b = binary.BigEndian.AppendUint32(b, uint32(mtu))
	b = append(b, 0x60, 0, 0, 0) // version, traffic class, flow label
	b = binary.BigEndian.AppendUint16(b, e.Length)
	b = append(b, unix.IPPROTO_UDP, e.HopLimit)
	src, _ := e.Src.wire()
	dst, _ := e.Dst.wire()
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	return e.appendUDP(b, maxICMP6-ipv6Header-(len(b)-start))
}

// appendUDP appends the datagram, as far as it is known, in room bytes at most.
func (e *ICMPError) appendUDP(b []byte, room int) []byte {
	b = binary.BigEndian.AppendUint16(b, e.Src.Port)
	b = binary.BigEndian.AppendUint16(b, e.Dst.Port)
	b = binary.BigEndian.AppendUint16(b, e.Length)
	b = binary.BigEndian.AppendUint16(b, e.Checksum)
	whole := min(len(e.Payload), int(e.Length)-udpHeader) // what a router may have appended is no part of it
	return append(b, e.Payload[:min(whole, room-udpHeader)]...)
}
