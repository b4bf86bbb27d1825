package bench

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// A steerFamily is where the traffic of the steer suite comes from and goes to. Its served prefix has room for 2^17
// units, addresses in IPv4 and /64 networks in IPv6, and the first destinations of them are dialled, so that the same
// packets suit a table of one prefix and a table of destinations prefixes.
type steerFamily struct {
	name    string
	served  netip.Prefix
	unit    int // length of a unit's prefix
	clients netip.Prefix
	link    [2]netip.Prefix // addresses of the server and the client on the link between them
}

const destinations = 100_000

var steerFamilies = []steerFamily{
	{
		name: "IPv4", served: netip.MustParsePrefix("198.18.0.0/15"), unit: 32,
		clients: netip.MustParsePrefix("10.64.0.0/10"),
		link:    [2]netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("10.1.0.2/24")},
	},
	{
		name: "IPv6", served: netip.MustParsePrefix("2001:db8::/47"), unit: 64,
		clients: netip.MustParsePrefix("fd64::/96"),
		link:    [2]netip.Prefix{netip.MustParsePrefix("fd00:1::1/64"), netip.MustParsePrefix("fd00:1::2/64")},
	},
}

// destination returns an address inside the i-th unit.
func (f *steerFamily) destination(i int) netip.Addr { return f.part(i, f.unit).Addr() }

// part returns the i-th part of the served prefix, of the given length.
func (f *steerFamily) part(i, length int) netip.Prefix {
	b := f.served.Addr().As16()
	if f.served.Addr().Is4() {
		b4 := f.served.Addr().As4()
		binary.BigEndian.PutUint32(b4[:], binary.BigEndian.Uint32(b4[:])|uint32(i)<<(32-length))
		return netip.PrefixFrom(netip.AddrFrom4(b4), length)
	}
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])|uint64(i)<<(64-length))
	return netip.PrefixFrom(netip.AddrFrom16(b), length)
}

// parts returns n parts that together hold every destination; n is 1, 1,000 or 100,000.
func (f *steerFamily) parts(n int) []netip.Prefix {
	length := f.unit - bits.Len(uint(destinations/n-1)) // each part has room for destinations/n units
	parts := make([]netip.Prefix, n)
	for i := range parts {
		parts[i] = f.part(i, length)
	}
	return parts
}

// client returns a random source address and port.
func (f *steerFamily) client(rng *rand.Rand) netip.AddrPort {
	b := f.clients.Addr().AsSlice()
	end := b[len(b)-4:]
	host := rng.Uint32() >> max(f.clients.Bits()-len(b)*8+32, 0)
	binary.BigEndian.PutUint32(end, binary.BigEndian.Uint32(end)|host|1)
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(1024+rng.IntN(64512)))
}

// addresses is how many addresses a /20 has. The first ones of the served prefix, in IPv6 one of each unit, get sockets
// of their own in one mode.
const addresses = 4096

// frame is an Ethernet frame with a small packet in it, as long for IPv4 as for IPv6: there is room for a TCP header
// with one option behind an IPv6 header.
type frame [80]byte

// newFlowFrames returns n packets, each of a flow of its own, to random ones of the first reach destinations; port 0 is a
// random port.
func (f *steerFamily) newFlowFrames(n, reach int, port uint16, build frameBuilder, rng *rand.Rand) []frame {
	seen := make(map[netip.AddrPort]bool, n)
	frames := make([]frame, 0, n)
	for len(frames) < n {
		client := f.client(rng)
		if seen[client] {
			continue
		}
		seen[client] = true
		to := port
		if to == 0 {
			to = uint16(1 + rng.IntN(65535))
		}
		frames = append(frames, build(client, netip.AddrPortFrom(f.destination(rng.IntN(reach)), to)))
	}
	return frames
}

// frameBuilder is udpFrame or synFrame.
type frameBuilder func(from, to netip.AddrPort) frame

// flow is the two ends of a connected flow.
type flow struct{ client, server netip.AddrPort }

// flows returns n flows to different destinations on one port.
func (f *steerFamily) flows(n int, port uint16, rng *rand.Rand) []flow {
	flows := make([]flow, n)
	for i := range flows {
		flows[i] = flow{f.client(rng), netip.AddrPortFrom(f.destination(i*(destinations/n)), port)}
	}
	return flows
}

// flowFrames returns n datagrams that belong to the flows in turn.
func flowFrames(n int, flows []flow) []frame {
	frames := make([]frame, n)
	for i := range frames {
		frames[i] = udpFrame(flows[i%len(flows)].client, flows[i%len(flows)].server)
	}
	return frames
}

// serverMAC is the address of the interface that frames are injected into.
var serverMAC = [6]byte{0x02, 0, 0, 0, 0, 0x01}

// IP protocol numbers.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// Lengths of headers.
const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	synHeader      = 24 // of TCP, with the option that every client sends
)

// udpFrame builds a datagram that fills the frame with zeros (RFC 768).
func udpFrame(from, to netip.AddrPort) (b frame) {
	udp := b.ip(protocolUDP, from, to, -1)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	sum := transportSum(protocolUDP, udp, from, to)
	if sum == 0 {
		sum = 0xffff // zero means "no checksum"
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// synFrame builds the first segment of a TCP connection, with a maximum segment size (RFC 9293).
func synFrame(from, to netip.AddrPort) (b frame) {
	tcp := b.ip(protocolTCP, from, to, synHeader)
	const syn, window, mssOption = 0x02, 64240, 0x0204_0000 | 1460
	binary.BigEndian.PutUint32(tcp[4:], uint32(from.Port())<<16) // any sequence number will do
	tcp[12], tcp[13] = synHeader/4<<4, syn
	binary.BigEndian.PutUint16(tcp[14:], window)
	binary.BigEndian.PutUint32(tcp[20:], mssOption)
	binary.BigEndian.PutUint16(tcp[16:], transportSum(protocolTCP, tcp, from, to))
	return b
}

// ip writes the headers before the transport protocol's and its ports, and returns where that one begins, of the given
// length or, if that is negative, to the frame's end (RFC 791, RFC 8200).
func (b *frame) ip(protocol byte, from, to netip.AddrPort, length int) (transport []byte) {
	copy(b[0:], serverMAC[:])
	copy(b[6:], []byte{0x02, 0, 0, 0, 0, 0x02})
	ip := b[ethernetHeader:]
	if from.Addr().Is4() {
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		transport = sized(ip[ipv4Header:], length)
		ip[0], ip[8], ip[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Header+len(transport)))
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:ipv4Header]))
	} else {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		transport = sized(ip[ipv6Header:], length)
		ip[0], ip[6], ip[7] = 0x60, protocol, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(transport)))
		copy(ip[8:], from.Addr().AsSlice())
		copy(ip[24:], to.Addr().AsSlice())
	}
	binary.BigEndian.PutUint16(transport[0:], from.Port())
	binary.BigEndian.PutUint16(transport[2:], to.Port())
	return transport
}

func sized(b []byte, length int) []byte {
	if length < 0 {
		return b
	}
	return b[:length]
}

// transportSum is the checksum over the pseudo header and a segment whose own checksum is still 0.
func transportSum(protocol byte, segment []byte, from, to netip.AddrPort) uint16 {
	pseudo := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	return checksum(uint32(int(protocol)+len(segment)), pseudo, segment)
}

// checksum is the Internet checksum (RFC 1071) over parts of even length, begun with a sum.
func checksum(sum uint32, parts ...[]byte) uint16 {
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
