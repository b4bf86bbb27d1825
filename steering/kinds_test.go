package steering

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// loopback4Mapped is ::ffff:127.0.0.1.
var loopback4Mapped = netip.MustParseAddr("::ffff:127.0.0.1").As16()

// established returns the client's end of a TCP connection.
func (w *world) established() int {
	w.t.Helper()
	l := w.listen(home)
	var c net.Conn
	err := w.ns.Do(func() (err error) {
		c, err = dial("tcp", netip.Addr{}, l.Addr().(*net.TCPAddr).AddrPort())
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close(); file.Close() })
	return int(file.Fd())
}

// unfit opens a socket for p of some kind, also "other" (of the other protocol) and "connected", and has it put into a
// socket map, which takes UDP sockets only as long as they are not connected.
func (w *world) unfit(p rule.Protocol, kind string, put func(fd int)) int {
	w.t.Helper()
	fd := -1
	switch {
	case kind == "other":
		fd = w.socket(rule.TCP+rule.UDP-p, kind, kind)
	case kind == "connected" && p == rule.TCP:
		fd = w.established()
	default:
		fd = w.socket(p, kind, kind)
	}
	put(fd)
	if kind == "connected" && p == rule.UDP {
		if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: loopback4Mapped, Port: 9}); err != nil {
			w.t.Fatal(err)
		}
	}
	return fd
}

// socket opens a socket for p, starts a server of this name on it, and returns its descriptor, which is good until the
// test ends.
func (w *world) socket(p rule.Protocol, kind, name string) int {
	w.t.Helper()
	fd := -1
	if err := w.ns.Do(func() (err error) { fd, err = boundSocket(p, kind); return err }); err != nil {
		w.t.Fatal(err)
	}
	keep, err := unix.Dup(fd) // the server owns fd itself
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(p, fd, name)
	w.t.Cleanup(func() { unix.Close(keep) })
	return keep
}

// run starts a server on a bound socket, which it owns, until the test ends.
func (w *world) run(p rule.Protocol, fd int, name string) syscall.Conn {
	w.t.Helper()
	if p == rule.TCP {
		l, err := listenOn(fd)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { l.Close() })
		w.servers.tcp(name, l)
		return l.(*net.TCPListener)
	}
	c, err := packetConn(fd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	w.servers.udp(name, c)
	return c
}

// descriptor is a socket that somebody else owns, as a syscall.Conn.
type descriptor int

func (d descriptor) SyscallConn() (syscall.RawConn, error) { return d, nil }

func (d descriptor) Control(f func(uintptr)) error { f(uintptr(d)); return nil }

func (d descriptor) Read(func(uintptr) bool) error { return errors.ErrUnsupported }

func (d descriptor) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

var socketTypes = map[rule.Protocol]int{rule.TCP: unix.SOCK_STREAM, rule.UDP: unix.SOCK_DGRAM}

const socketFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK

// boundSocket returns a socket of the thread's namespace: "inet", "inet6" (only), "reuseport" for both families and
// with reusePortHome for its home, or else for both families.
func boundSocket(p rule.Protocol, kind string) (int, error) {
	switch kind {
	case "inet":
		fd, err := unix.Socket(unix.AF_INET, socketTypes[p]|socketFlags, 0)
		if err != nil {
			return -1, err
		}
		return fd, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	case "inet6":
		fd, err := unix.Socket(unix.AF_INET6, socketTypes[p]|socketFlags, 0)
		if err != nil {
			return -1, err
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return -1, err
		}
		return fd, unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
	}
	if kind == "reuseport" {
		return openSocket(socketTypes[p], reusePortHome, true)
	}
	return openSocket(socketTypes[p], home, false)
}

// reusePortHome is where all members of a reuseport group are bound.
const reusePortHome = "[::ffff:127.0.0.1]:4000"
