package udp

import (
	"encoding/binary"

	"anyport/conf"
	"anyport/proxy/sock"
)

// clientHeaderBytes is the most that a header takes that tells an upstream who the client is.
const clientHeaderBytes = 52

// appendClientHeader appends the header of a flow's datagrams to its upstream: 28 bytes of PROXY protocol for IPv4, 52
// for IPv6, 38 of the Simple Proxy Protocol for both. All are of even length.
func appendClientHeader(b []byte, kind conf.ProxyProtocol, key *flowKey) []byte {
	switch kind {
	case conf.ProxyV2, conf.ProxyV2First:
		return appendProxyV2(b, key)
	case conf.ProxySPP:
		return appendSPP(b, key)
	}
	return b
}

// Of the PROXY protocol, version 2 (its specification, section 2.2;
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyCommand   = 0x21 // version 2, PROXY
	proxyUDP4      = 0x12 // AF_INET, DGRAM
	proxyUDP6      = 0x22 // AF_INET6, DGRAM
)

// appendProxyV2 appends the client as source and the original destination as destination. Both are of one family.
func appendProxyV2(b []byte, key *flowKey) []byte {
	family, skip := byte(proxyUDP6), 0
	if key.client.Is4() {
		family, skip = proxyUDP4, 12 // of a mapped address
	}
	client, dst := wireIP(&key.client), wireIP(&key.dst)
	b = append(b, proxySignature...)
	b = append(b, proxyCommand, family)
	b = binary.BigEndian.AppendUint16(b, uint16(2*(16-skip)+4))
	b = append(b, client[skip:]...)
	b = append(b, dst[skip:]...)
	return appendPorts(b, key)
}

// Of Cloudflare's Simple Proxy Protocol (https://developers.cloudflare.com/spectrum/how-to/enable-proxy-protocol/).
const (
	sppMagic = 0x56ec
	sppBytes = 38
)

// appendSPP appends the client's address and the original destination's, IPv4 as mapped, and their ports.
func appendSPP(b []byte, key *flowKey) []byte {
	client, dst := wireIP(&key.client), wireIP(&key.dst)
	b = binary.BigEndian.AppendUint16(b, sppMagic)
	b = append(b, client[:]...)
	b = append(b, dst[:]...)
	return appendPorts(b, key)
}

// trimSPP takes the header off an answer, and reports false if it is not the one of the flow.
func trimSPP(payload []byte, key *flowKey) ([]byte, bool) {
	var header [sppBytes]byte
	appendSPP(header[:0], key)
	if len(payload) < sppBytes || [sppBytes]byte(payload) != header {
		return nil, false
	}
	return payload[sppBytes:], true
}

func appendPorts(b []byte, key *flowKey) []byte {
	b = binary.BigEndian.AppendUint16(b, key.client.Port)
	return binary.BigEndian.AppendUint16(b, key.dst.Port)
}

// wireIP returns an address without the zone that an Addr keeps in it.
func wireIP(a *sock.Addr) [16]byte { return a.AddrPort().Addr().As16() }
