package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// dnsLink writes queries as Ethernet frames and sends them past the client's own network stack (packet(7)): what that
// would cost, the server's CPU has no part in, and the client would be slower than a fast server.
type dnsLink struct {
	fd       int
	header   []byte // Ethernet, IP and UDP, to be completed
	ip, udp  int    // offsets in it
	is4      bool
	checksum uint32 // of what does not change in an IPv4 header, or in the pseudo header of IPv6
}

const (
	ethernetLen = 14
	udpLen      = 8
)

// newDNSLink opens a packet socket on the client's end of the link; the frames come from an address and port of it.
func newDNSLink(client, server *netlab.Namespace, from netip.AddrPort) (*dnsLink, error) {
	own, ifindex, errOwn := linkAddress(client)
	next, _, errNext := linkAddress(server)
	if err := errors.Join(errOwn, errNext); err != nil {
		return nil, err
	}
	l := &dnsLink{is4: from.Addr().Is4(), ip: ethernetLen}
	l.header = append(append(l.header, next...), own...)
	if l.is4 {
		l.header = append(l.header, 0x08, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0) // RFC 791; DF set
	} else {
		l.header = append(l.header, 0x86, 0xDD, 0x60, 0, 0, 0, 0, 0, unix.IPPROTO_UDP, 64) // RFC 8200
	}
	l.header = append(l.header, from.Addr().AsSlice()...)
	l.header = append(l.header, make([]byte, from.Addr().BitLen()/8)...)
	l.udp = len(l.header)
	l.header = binary.BigEndian.AppendUint16(l.header, from.Port())
	l.header = append(l.header, 0, dnsPort, 0, 0, 0, 0)
	if l.is4 {
		l.checksum = sum16(0, l.header[l.ip:l.udp])
	} else {
		l.checksum = sum16(unix.IPPROTO_UDP, from.Addr().AsSlice())
	}
	return l, client.Do(func() error { return l.open(ifindex) })
}

func linkAddress(ns *netlab.Namespace) (mac net.HardwareAddr, ifindex int, err error) {
	err = ns.Do(func() error {
		device, err := netlink.LinkByName("link")
		if err != nil {
			return fmt.Errorf("find the link of %s: %w", ns.Name(), err)
		}
		mac, ifindex = device.Attrs().HardwareAddr, device.Attrs().Index
		return nil
	})
	return mac, ifindex, err
}

func (l *dnsLink) open(ifindex int) (err error) {
	if l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	err = errors.Join(unix.Bind(l.fd, &unix.SockaddrLinklayer{Ifindex: ifindex}), // no protocol: it receives nothing
		unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	if err != nil {
		return errors.Join(fmt.Errorf("prepare packet socket: %w", err), unix.Close(l.fd))
	}
	return nil
}

func (l *dnsLink) close() error { return unix.Close(l.fd) }

// write writes a frame with a query for an address into out and returns its length.
func (l *dnsLink) write(out []byte, to netip.Addr, query []byte, id uint16) int {
	n := copy(out, l.header)
	n += copy(out[n:], query)
	binary.BigEndian.PutUint16(out[l.udp+udpLen:], id)
	size := uint16(udpLen + len(query))
	binary.BigEndian.PutUint16(out[l.udp+4:], size)
	ip := out[l.ip:l.udp]
	if l.is4 {
		a := to.As4()
		copy(ip[16:], a[:])
		total := size + uint16(len(ip))
		binary.BigEndian.PutUint16(ip[2:], total)
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum16(l.checksum+uint32(total), a[:])))
		return n // UDP needs no checksum over IPv4 (RFC 768)
	}
	a := to.As16()
	copy(ip[24:], a[:])
	binary.BigEndian.PutUint16(ip[4:], size)
	udp := ^fold(sum16(sum16(l.checksum+uint32(size), a[:]), out[l.udp:n]))
	if udp == 0 {
		udp = 0xFFFF
	}
	binary.BigEndian.PutUint16(out[l.udp+6:], udp)
	return n
}

// sum16 adds 16-bit words to a sum (RFC 1071).
func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return uint16(sum)
}
