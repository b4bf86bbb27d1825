package upstream

import (
	"net"
	"net/netip"
)

// RoutedSource returns the source address that the host's routing chooses towards addr, or the zero Addr where no
// route leads there. It connects a datagram socket, which asks the routing table and sends nothing (udp(7)).
func RoutedSource(addr netip.Addr) netip.Addr {
	const discard = 9 // any port does: nothing is sent
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, discard)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// routedSources remembers RoutedSource's answers: ten thousand routes may share one upstream.
type routedSources map[netip.Addr]netip.Addr

func (m routedSources) of(addr netip.Addr) netip.Addr {
	src, known := m[addr]
	if !known {
		src = RoutedSource(addr)
		m[addr] = src
	}
	return src
}
