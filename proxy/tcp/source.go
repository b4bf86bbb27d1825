package tcp

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// connect starts to connect to c's upstream from the address that its route wants. EADDRNOTAVAIL says that none has a
// port left towards that upstream.
func (w *worker) connect(c *conn) (fd int, errno syscall.Errno) {
	rt := w.routes.at(c.route).route
	if rt.ClientSource {
		return connectAs(c.client, c.upstream)
	}
	pool := rt.Sources.Towards(c.upstream.AddrPort().Addr())
	if len(pool) == 0 {
		return sock.Connect(c.upstream)
	}
	return w.connectFrom(pool, c.upstream)
}

// connectAs connects with the client's own address and port, if there can be a packet from it to that upstream: both
// are of one family, and a PROXY header has named no address that stands for none or for many.
func connectAs(client, to sock.Addr) (fd int, errno syscall.Errno) {
	a := client.AddrPort().Addr()
	if client.Is4() != to.Is4() || client.Port == 0 || a.IsUnspecified() || a.IsMulticast() {
		return -1, unix.EADDRNOTAVAIL
	}
	fd, errno = sock.ConnectAs(client, to)
	if errno == unix.EADDRINUSE {
		errno = unix.EADDRNOTAVAIL
	}
	return fd, errno
}

// connectFrom takes the sources in turn, so that they carry alike, and goes on to the next one while one has no port
// left. The kernel looks through all ports of a source to find that out: with every source used up, a connect costs as
// many such searches.
func (w *worker) connectFrom(pool []netip.Addr, to sock.Addr) (fd int, errno syscall.Errno) {
	for range pool {
		w.source++
		from := pool[w.source%uint32(len(pool))]
		fd, errno = sock.ConnectFrom(sock.AddrFrom(netip.AddrPortFrom(from, 0)), to)
		if errno != unix.EADDRNOTAVAIL {
			break
		}
	}
	return fd, errno
}
