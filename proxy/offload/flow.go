package offload

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"anyport/bpf"
	"anyport/proxy/sock"
)

// Flow is a UDP flow that the kernel forwards, or is to forward.
type Flow struct {
	Client, Original sock.Addr     // datagrams from one to the other, the original destination,
	NAT, Upstream    sock.Addr     // go on from one to the other; answers the other way
	Route            string        // the name of the flow's route
	Idle             time.Duration // the flow ends when it has carried nothing for so long; 0: never
	Age              time.Duration // since it began
	MaxDatagram      int           // what is longer, in bytes of content, the kernel does not send to the client; 0: no limit
	Usage                          // so far, in whatever way
}

// Usage is what a flow has carried: datagrams and bytes of payload, from its client (in) and to it (out).
type Usage struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64
	Silent               time.Duration // since the last datagram, either way; about 20 ms too much at times
}

// canForward reports whether the kernel can forward a flow between these addresses: it changes addresses, not families,
// and a link-local address would need a device beside it.
func (f *Flow) canForward() bool {
	for _, a := range []*sock.Addr{&f.Client, &f.Original, &f.NAT, &f.Upstream} {
		if a.Is4() != f.Client.Is4() || a.AddrPort().Addr().IsLinkLocalUnicast() {
			return false
		}
	}
	return true
}

func ipAddress(a *sock.Addr) (ip bpf.OffloadIpAddress) {
	for i := range ip.Word {
		ip.Word[i] = binary.NativeEndian.Uint32(a.IP[4*i:])
	}
	return ip
}

// swapPort converts between host order and the network order that the maps have.
func swapPort(p uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, p))
}

func addrOf(ip bpf.OffloadIpAddress, port uint16) (a sock.Addr) {
	for i, word := range ip.Word {
		binary.NativeEndian.PutUint32(a.IP[4*i:], word)
	}
	a.Port = swapPort(port)
	return a
}

// delta is what a checksum over the old addresses is changed by to be one over the new ones (RFC 1624): a one's
// complement sum of 32-bit words.
func delta(old, fresh []bpf.OffloadIpAddress) uint32 {
	var sum uint64
	for _, ip := range fresh {
		for _, word := range ip.Word {
			sum += uint64(word)
		}
	}
	for _, ip := range old {
		for _, word := range ip.Word {
			sum += uint64(^word)
		}
	}
	for sum>>32 != 0 {
		sum = sum>>32 + sum&0xffffffff
	}
	return uint32(sum)
}

// fill writes a flow into a slot that nothing leads to.
func fill(s *bpf.OffloadFlow, f *Flow, now units, route, generation uint16) {
	common := bpf.OffloadHalf{
		Idle:       uint32(unitsIn(f.Idle)),
		Started:    uint32(now - units(f.Age/unit)),
		Seen:       uint32(now - units(f.Silent/unit)),
		Route:      route,
		Generation: generation,
	}
	s.In, s.Out = common, common
	s.In.Packets, s.In.Bytes, s.Out.Packets, s.Out.Bytes = f.PacketsIn, f.BytesIn, f.PacketsOut, f.BytesOut
	setTuples(&s.In, tupleOf(&f.Client, &f.Original), tupleOf(&f.NAT, &f.Upstream))
	setTuples(&s.Out, tupleOf(&f.Upstream, &f.NAT), tupleOf(&f.Original, &f.Client))
	s.In.Longest, s.Out.Longest = anyLength, f.longestOut()
}

// anyLength is more than a packet can have.
const anyLength = 1 << 17

// longestOut returns the length of the longest packet to the client.
func (f *Flow) longestOut() uint32 {
	if f.MaxDatagram == 0 {
		return anyLength
	}
	return uint32(sock.PacketSize(&f.Client, f.MaxDatagram))
}

func setTuples(h *bpf.OffloadHalf, from, to bpf.OffloadTuple) {
	h.From, h.To = from, to
	h.Delta = delta([]bpf.OffloadIpAddress{from.Source, from.Destination}, []bpf.OffloadIpAddress{to.Source, to.Destination})
}

func tupleOf(source, destination *sock.Addr) bpf.OffloadTuple {
	return bpf.OffloadTuple{Source: ipAddress(source), Destination: ipAddress(destination),
		SourcePort: swapPort(source.Port), DestinationPort: swapPort(destination.Port)}
}

func sourceOf(t *bpf.OffloadTuple) sock.Addr { return addrOf(t.Source, t.SourcePort) }

func destinationOf(t *bpf.OffloadTuple) sock.Addr { return addrOf(t.Destination, t.DestinationPort) }

// usage reads what the program writes, while it may.
func usage(s *bpf.OffloadFlow, now units) Usage {
	in, out := now-units(atomic.LoadUint32(&s.In.Seen)), now-units(atomic.LoadUint32(&s.Out.Seen))
	return Usage{
		PacketsIn:  atomic.LoadUint64(&s.In.Packets),
		BytesIn:    atomic.LoadUint64(&s.In.Bytes),
		PacketsOut: atomic.LoadUint64(&s.Out.Packets),
		BytesOut:   atomic.LoadUint64(&s.Out.Bytes),
		Silent:     max(0, min(in.duration(), out.duration())),
	}
}
