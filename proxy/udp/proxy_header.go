package udp

import (
	"fmt"
	"net"

	"github.com/pires/go-proxyproto"

	"anyport/conf"
)

// proxyV2 is the one version of the PROXY protocol that knows datagrams.
const proxyV2 conf.ProxyProtocol = 2

// proxyHeader returns the header that goes before every datagram of a flow to its upstream, 28 bytes for IPv4 and 52
// for IPv6: the client as source, the original destination as destination, transport DGRAM (PROXY protocol
// specification, section 2.2; https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
func proxyHeader(key *flowKey) []byte {
	client := net.UDPAddrFromAddrPort(key.client.AddrPort())
	dst := net.UDPAddrFromAddrPort(key.dst.AddrPort())
	b, err := proxyproto.HeaderProxyFromAddrs(byte(proxyV2), client, dst).Format()
	if err != nil {
		panic(fmt.Sprintf("udp: format PROXY header: %v", err)) // it fails for addresses of two families only
	}
	return b
}
