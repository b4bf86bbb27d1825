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

// fill writes a flow into a slot that no key leads to.
func fill(s *bpf.OffloadFlow, f *Flow, now units, route, generation uint16) {
	s.Client, s.Original, s.Nat, s.Upstream = ipAddress(&f.Client), ipAddress(&f.Original), ipAddress(&f.NAT), ipAddress(&f.Upstream)
	s.ClientPort, s.OriginalPort = swapPort(f.Client.Port), swapPort(f.Original.Port)
	s.NatPort, s.UpstreamPort = swapPort(f.NAT.Port), swapPort(f.Upstream.Port)
	s.Delta = delta([]bpf.OffloadIpAddress{s.Client, s.Original}, []bpf.OffloadIpAddress{s.Nat, s.Upstream})
	s.Idle = uint32(unitsIn(f.Idle))
	s.Started = uint32(now - units(f.Age/unit))
	s.SeenIn = uint32(now - units(f.Silent/unit))
	s.SeenOut = s.SeenIn
	s.PacketsIn, s.BytesIn, s.PacketsOut, s.BytesOut = f.PacketsIn, f.BytesIn, f.PacketsOut, f.BytesOut
	s.Route, s.Generation = route, generation
}

// usage reads what the program writes, while it may.
func usage(s *bpf.OffloadFlow, now units) Usage {
	in, out := now-units(atomic.LoadUint32(&s.SeenIn)), now-units(atomic.LoadUint32(&s.SeenOut))
	return Usage{
		PacketsIn:  atomic.LoadUint64(&s.PacketsIn),
		BytesIn:    atomic.LoadUint64(&s.BytesIn),
		PacketsOut: atomic.LoadUint64(&s.PacketsOut),
		BytesOut:   atomic.LoadUint64(&s.BytesOut),
		Silent:     max(0, min(in.duration(), out.duration())),
	}
}

// clientKey and natKey are the keys of a slot's flow.
func clientKey(s *bpf.OffloadFlow) *bpf.OffloadClientKey {
	return &bpf.OffloadClientKey{Client: s.Client, Original: s.Original, ClientPort: s.ClientPort, OriginalPort: s.OriginalPort}
}

func natKey(s *bpf.OffloadFlow) *bpf.OffloadNatKey {
	return &bpf.OffloadNatKey{Nat: s.Nat, Port: s.NatPort}
}
