package tcp

import (
	"net"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// sendHeader sends the PROXY protocol header, or the rest of it, ahead of everything the client has sent, and reports
// whether the upstream's socket has taken it all. It is encoded again for each part: no connection has room for it.
func (w *worker) sendHeader(c *conn) bool {
	header, err := encodeHeader(w.routes.at(c.route).route.ProxyProtocol, c.client, c.dst)
	if err != nil {
		w.log.Error("encode PROXY header", "client", c.client.AddrPort(), "destination", c.dst.AddrPort(), "error", err)
		w.end(c, stats.IOError)
		return false
	}
	for int(c.headerSent) < len(header) {
		n, errno := sock.Send(int(c.legs[upstream].fd), header[c.headerSent:])
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

// encodeHeader returns the header that tells an upstream who the client is and what it dialled (the PROXY protocol,
// sections 2.1 and 2.2). Both addresses are of one family. It has at most 107 bytes.
func encodeHeader(version conf.ProxyProtocol, client, dst sock.Addr) ([]byte, error) {
	transport := proxyproto.TCPv6
	if client.Is4() {
		transport = proxyproto.TCPv4
	}
	if version == conf.ProxyV2First { // on a connection there is only one
		version = conf.ProxyV2
	}
	header := proxyproto.Header{
		Version:           byte(version),
		Command:           proxyproto.PROXY,
		TransportProtocol: transport,
		SourceAddr:        net.TCPAddrFromAddrPort(client.AddrPort()),
		DestinationAddr:   net.TCPAddrFromAddrPort(dst.AddrPort()),
	}
	return header.Format()
}
