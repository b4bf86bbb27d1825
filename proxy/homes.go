package proxy

import (
	"net/netip"

	"anyport/proxy/sock"
)

// homes are where the sockets are bound that packets are brought to.
type homes struct {
	clients     netip.AddrPort
	replies     netip.AddrPort
	transparent bool // TPROXY rules bring them, instead of sk_lookup
}

// homesOf returns Home, or for a port that TPROXY rules lead to that port and the next one for replies.
func homesOf(tproxyPort int) homes {
	if tproxyPort == 0 {
		return homes{clients: Home, replies: Home}
	}
	any := netip.IPv6Unspecified()
	return homes{netip.AddrPortFrom(any, uint16(tproxyPort)), netip.AddrPortFrom(any, uint16(tproxyPort+1)), true}
}

// prepare lets a socket have what its home is for.
func (h homes) prepare(s *sock.Socket) error {
	if !h.transparent {
		return nil
	}
	return s.SetTransparent()
}
