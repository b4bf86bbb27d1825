package tcp

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"anyport/conf"
	"anyport/proxy/sock"
)

// sendHeader sends the PROXY protocol header, or the rest of it, ahead of everything the client has sent, and reports
// whether the upstream's socket has taken it all. It is encoded again for each part: no connection has room for it. The
// worker's buffer has: nothing is in it between two reads.
func (w *worker) sendHeader(c *conn) bool {
	header := appendHeader(w.buf[:0], w.routes.at(c.route).route.ProxyProtocol, c.client, c.dst)
	for int(c.headerSent) < len(header) {
		n, errno := sock.Send(int(c.legs[upstream].fd), header[c.headerSent:], 0)
		switch {
		case errno == unix.EAGAIN:
			c.legs[client].flags |= blocked
			return false
		case errno != 0:
			w.lost(c, upstream, errno)
			return false
		}
		c.headerSent += uint8(n)
	}
	c.headerDue = false
	return true
}

// appendHeader appends the header that tells an upstream who the client is and what it dialled (the PROXY protocol,
// sections 2.1 and 2.2): at most 107 bytes. A header has addresses of one family. If only one of the two is an IPv4
// address, as when a PROXY header has named a client of the other family, it is written IPv4-mapped
// (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2) in a header for IPv6.
func appendHeader(b []byte, version conf.ProxyProtocol, client, dst sock.Addr) []byte {
	is4 := client.Is4() && dst.Is4()
	if version == conf.ProxyV1 {
		return appendV1(b, is4, client.AddrPort(), dst.AddrPort())
	}
	return appendV2(b, is4, client.AddrPort(), dst.AddrPort())
}

func appendV1(b []byte, is4 bool, client, dst netip.AddrPort) []byte {
	b = append(b, signatureV1...)
	if is4 {
		b = append(b, "TCP4 "...)
	} else {
		b = append(b, "TCP6 "...)
	}
	for _, a := range [...]netip.Addr{client.Addr(), dst.Addr()} {
		if !is4 {
			a = netip.AddrFrom16(a.As16())
		}
		b = append(a.AppendTo(b), ' ')
	}
	b = append(strconv.AppendUint(b, uint64(client.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(dst.Port()), 10), '\r', '\n')
}

func appendV2(b []byte, is4 bool, client, dst netip.AddrPort) []byte {
	b = append(b, signatureV2...)
	if is4 {
		b = append(b, commandProxy, transportTCP4, 0, sizeTCP4)
		src4, dst4 := client.Addr().As4(), dst.Addr().As4()
		b = append(append(b, src4[:]...), dst4[:]...)
	} else {
		b = append(b, commandProxy, transportTCP6, 0, sizeTCP6)
		src6, dst6 := client.Addr().As16(), dst.Addr().As16()
		b = append(append(b, src6[:]...), dst6[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, client.Port())
	return binary.BigEndian.AppendUint16(b, dst.Port())
}
