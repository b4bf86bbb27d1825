package sock

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is room for what the kernel calls a socket address, of either family (ip(7), ipv6(7)).
type sockaddr = unix.RawSockaddrInet6

// encode fills raw for a and returns its length.
func (a *Addr) encode(raw *sockaddr) (size uint32) {
	if a.Is4() {
		raw4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		*raw4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapPort(a.Port), Addr: a.as4()}
		return unix.SizeofSockaddrInet4
	}
	ip, zone := a.wire()
	*raw = sockaddr{Family: unix.AF_INET6, Port: swapPort(a.Port), Addr: ip, Scope_id: zone}
	return unix.SizeofSockaddrInet6
}

// decode returns the address that the kernel has put into raw.
func decode(raw *sockaddr) Addr {
	if raw.Family != unix.AF_INET {
		return fromSockaddr6(raw)
	}
	raw4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
	return Addr{IP: netip.AddrFrom4(raw4.Addr).As16(), Port: swapPort(raw4.Port)}
}
