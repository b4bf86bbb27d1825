package upstream

import "net/netip"

// Claim returns the endpoint that leads to addr for a client's original destination port, with a claim on its member as
// Next gives it, or nil if the group has none or it takes nothing.
func (g *Group) Claim(addr netip.AddrPort, original uint16) *Endpoint {
	list := g.Endpoints()
	for i := range list {
		if list[i].Dial(original) == addr && list[i].member.claim() {
			return &list[i]
		}
	}
	return nil
}
