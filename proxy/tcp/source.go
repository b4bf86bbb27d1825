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
	pool := w.routes.at(c.route).route.Sources.Towards(c.upstream.AddrPort().Addr())
	if len(pool) == 0 {
		return sock.Connect(c.upstream)
	}
	return w.connectFrom(pool, c.upstream)
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
