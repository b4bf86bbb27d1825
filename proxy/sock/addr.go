package sock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Addr is an IP address and port in 18 bytes without pointers, to compare, to hash and to keep by the hundred
// thousand. An IPv4 address is stored IPv4-mapped (::ffff:a.b.c.d), as the kernel shows it on an AF_INET6 socket. The
// zone of a link-local IPv6 address, an interface index, is stored in bytes 4 to 7, which are zero in every such
// address on the wire (RFC 4291, section 2.5.6).
type Addr struct {
	IP   [16]byte
	Port uint16
}

// AddrFrom returns ap as an Addr, without its zone.
func AddrFrom(ap netip.AddrPort) Addr {
	return Addr{IP: ap.Addr().As16(), Port: ap.Port()}
}

// AddrPort returns a as package netip has it: IPv4 unmapped, link-local addresses without a zone.
func (a Addr) AddrPort() netip.AddrPort {
	ip, _ := a.wire()
	return netip.AddrPortFrom(netip.AddrFrom16(ip).Unmap(), a.Port)
}

var mappedPrefix = [12]byte{10: 0xff, 11: 0xff}

// Is4 reports whether a is an IPv4 address.
func (a *Addr) Is4() bool { return [12]byte(a.IP[:12]) == mappedPrefix }

// as4 returns the IPv4 address of an Addr that Is4.
func (a *Addr) as4() [4]byte { return [4]byte(a.IP[12:]) }

func isLinkLocal(ip *[16]byte) bool { return ip[0] == 0xfe && ip[1]&0xc0 == 0x80 }

// wire returns the address as it stands in packets, and its zone.
func (a *Addr) wire() (ip [16]byte, zone uint32) {
	ip = a.IP
	if isLinkLocal(&ip) {
		zone = binary.BigEndian.Uint32(ip[4:])
		clear(ip[4:8])
	}
	return ip, zone
}

// Wire returns the address as it stands in packets, that of IPv4 in the first four bytes.
func (a *Addr) Wire() [16]byte {
	ip, _ := a.wire()
	if a.Is4() {
		return [16]byte{ip[12], ip[13], ip[14], ip[15]}
	}
	return ip
}

// WirePort returns the port as the machine loads it from a packet.
func (a *Addr) WirePort() uint16 { return swapPort(a.Port) }

// fromSockaddr6 returns the kernel's view of an address; an AF_INET6 socket shows IPv4 addresses as mapped ones.
func fromSockaddr6(sa *unix.RawSockaddrInet6) Addr {
	a := Addr{IP: sa.Addr, Port: swapPort(sa.Port)}
	if isLinkLocal(&a.IP) {
		binary.BigEndian.PutUint32(a.IP[4:], sa.Scope_id)
	}
	return a
}

// swapPort converts between host order and the network order that kernel structures keep ports in.
func swapPort(p uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], p)
	return binary.BigEndian.Uint16(b[:])
}
