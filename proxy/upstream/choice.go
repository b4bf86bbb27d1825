package upstream

import "net/netip"

// MaxAttempts is how many endpoints one connection tries: the first and three more, as many as HAProxy's "retries".
const MaxAttempts = 4

// Choice is what a connection has been given so far. It holds no pointer. Begin makes one.
type Choice struct {
	hash  uint32                 // of client and original destination
	tried [MaxAttempts - 1]uint8 // places in the group's list
	n     uint8                  // attempts
}

func (c *Choice) note(place int) {
	if int(c.n) < len(c.tried) {
		c.tried[c.n] = uint8(place)
	}
	c.n++
}

// hasTried reports whether an attempt has been made at a place of the list. After a reload places may differ: an
// endpoint is then tried twice or left out, once.
func (c *Choice) hasTried(place int) bool {
	for _, t := range c.tried[:min(int(c.n), len(c.tried))] {
		if int(t) == place {
			return true
		}
	}
	return false
}

// Begin starts to choose for a new connection or flow.
func (g *Group) Begin(client, dst netip.AddrPort) Choice {
	return Choice{hash: uint32(hashPair(client, dst))}
}

// Next returns the endpoint for the next attempt of a connection, with a claim on its member that the caller gives back
// with Release when the attempt has failed or the connection ended. It returns nil after MaxAttempts, when every
// endpoint that is in use has been tried, and at once while no name has resolved.
func (g *Group) Next(c *Choice) *Endpoint {
	e := g.live.Load()
	for c.n < MaxAttempts {
		place := g.pick(e, c)
		if place < 0 {
			return nil
		}
		c.note(place)
		if e.list[place].member.claim() {
			return &e.list[place]
		}
	}
	return nil
}

// admission says which endpoints a choice may fall on.
type admission uint8

const (
	byShare admission = iota // those that are in, in proportion to their shares
	ifIn                     // those that are in
	always                   // all
)

// pick returns a place of e's list that has not been tried, or -1.
func (g *Group) pick(e *endpoints, c *Choice) int {
	for i := range e.tiers {
		for _, a := range [...]admission{byShare, ifIn} {
			if place := e.tiers[i].pick(g, e.list, c, a); place >= 0 {
				return place
			}
		}
	}
	if e.anyIn() {
		return -1
	}
	for i := range e.tiers {
		if place := e.tiers[i].pick(g, e.list, c, always); place >= 0 {
			return place
		}
	}
	return -1
}

// AnyIn reports whether an endpoint of the group is in.
func (g *Group) AnyIn() bool { return g.live.Load().anyIn() }

func (e *endpoints) anyIn() bool {
	for i := range e.list {
		if !e.list[i].member.IsOut() {
			return true
		}
	}
	return false
}

// admits reports whether a choice may fall on a place. luck is a number that decides about shares.
func (a admission) admits(list []Endpoint, place int, c *Choice, luck uint64) bool {
	share := list[place].member.share.Load()
	switch {
	case c.n > 0 && c.hasTried(place):
		return false
	case share == fullShare || a == always:
		return true
	case a == ifIn:
		return share > 0
	}
	return uint64(share) > mix(luck+uint64(place))%fullShare
}
