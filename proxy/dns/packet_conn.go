package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// ErrPort is returned by PacketConn.WriteTo for a client that had asked another port than the socket's own: the kernel
// lets a sender choose its address, not its port.
var ErrPort = errors.New("the client asked another port than the socket's own")

// PacketConn is a UDP socket for another DNS server, of any library that takes a net.PacketConn. Steer a prefix to it
// and to the listener that ListenTCP returns: replies leave from the address that was asked. Concurrent use is safe.
type PacketConn struct {
	conn
	port uint16
}

// conn is what a PacketConn does as the *net.UDPConn under it does. SyscallConn is for steering.
type conn interface {
	net.PacketConn
	syscall.Conn
}

// ListenPacket opens a socket at home, which the caller closes. For DNS on port 53 that is DefaultHome.
func ListenPacket(home netip.AddrPort) (*PacketConn, error) {
	s, err := ListenUDP(home)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(s.FD()), "dns/udp")
	defer f.Close() // FilePacketConn has a descriptor of its own
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s/udp: %w", home, err)
	}
	udp := c.(*net.UDPConn)
	return &PacketConn{conn: udp, port: uint16(udp.LocalAddr().(*net.UDPAddr).Port)}, nil
}

// ClientAddr is where a packet came from and the address that it was sent to. Network and String are those of the
// client.
type ClientAddr struct {
	Client netip.AddrPort
	Asked  netip.AddrPort
}

// Network returns "udp".
func (ClientAddr) Network() string { return "udp" }

// String returns the client's address and port.
func (a ClientAddr) String() string { return a.Client.String() }

// ReadFrom reads one packet. Its address is a ClientAddr.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	var control [64]byte
	n, size, _, client, err := c.conn.(*net.UDPConn).ReadMsgUDPAddrPort(p, control[:])
	if err != nil {
		return n, nil, err
	}
	a := ClientAddr{Client: netip.AddrPortFrom(client.Addr().Unmap(), client.Port())}
	if asked, ok := sock.OriginalDst(control[:size]); ok {
		a.Asked = asked.AddrPort()
	}
	return n, a, nil
}

// WriteTo sends one packet: to a ClientAddr from the address that it asked, to any other *net.UDPAddr from one that
// the kernel chooses.
func (c *PacketConn) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(ClientAddr)
	if !ok {
		return c.conn.WriteTo(p, to)
	}
	if a.Asked.IsValid() && a.Asked.Port() != c.port {
		return 0, fmt.Errorf("reply to %s from %s: %w", a.Client, a.Asked, ErrPort)
	}
	client := a.Client
	if client.Addr().Is4() { // mapped, as the socket may be an AF_INET6 one
		client = netip.AddrPortFrom(netip.AddrFrom16(client.Addr().As16()), client.Port())
	}
	n, _, err := c.conn.(*net.UDPConn).WriteMsgUDPAddrPort(p, sourceControl(a.Asked.Addr()), client)
	return n, err
}

// sourceControl returns the control message that makes a packet leave from an address; none for the invalid address.
func sourceControl(a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return nil
	case a.Is4():
		return controlOf(unix.SOL_IP, unix.IP_PKTINFO, unix.Inet4Pktinfo{Spec_dst: a.As4()})
	}
	return controlOf(unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.Inet6Pktinfo{Addr: a.As16()})
}

func controlOf[T any](level, kind int32, data T) []byte {
	m := struct {
		hdr  unix.Cmsghdr
		data T
	}{unix.Cmsghdr{Level: level, Type: kind}, data}
	m.hdr.SetLen(unix.CmsgLen(int(unsafe.Sizeof(data))))
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&m)), unsafe.Sizeof(m))...)
}
