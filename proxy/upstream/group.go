// Package upstream turns the upstreams that a route names into addresses to dial: it resolves DNS names, keeps the
// last good answer, finds the source address that the host uses towards each, and balances over what it has.
//
// A [Group] is one route's upstreams. Whoever owns the groups calls [Resolve] now and then and gives each group what it
// found; the data planes only ever read a group, which costs one atomic load.
package upstream

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"anyport/conf"
)

// Endpoint is one address of a route's upstreams.
type Endpoint struct {
	Addr   netip.Addr // never an IPv4-mapped IPv6 address
	Source netip.Addr // the source address that the host's routes choose towards Addr; invalid where there is no route
	spec   conf.Upstream
}

// Dial returns the address to dial for a client's original destination port.
func (e Endpoint) Dial(original uint16) netip.AddrPort {
	return netip.AddrPortFrom(e.Addr, e.spec.DialPort(original))
}

// String returns the endpoint as it would be written in a configuration: "10.0.0.5", "10.0.0.5:22", "10.0.0.5:+1000".
func (e Endpoint) String() string {
	spec := e.spec
	spec.Addr, spec.Name = e.Addr, ""
	return spec.String()
}

// Group is the upstreams of one route. Start and Endpoint are safe for concurrent use and allocate nothing.
type Group struct {
	specs   []conf.Upstream
	balance conf.Balance

	next atomic.Uint32 // round robin's counter
	live atomic.Pointer[endpoints]
}

// endpoints is what the group's upstreams resolved to at one time.
type endpoints struct {
	list   []Endpoint
	maglev []uint16 // slot -> index into list; nil where the balance does not need it
}

// NewGroup returns a group whose upstreams written as addresses are in use at once; names wait for [Resolve] and Use.
func NewGroup(specs []conf.Upstream, balance conf.Balance) *Group {
	g := &Group{specs: specs, balance: balance}
	g.Use(g.resolve(nil, make(routedSources)))
	return g
}

// Use makes list, one of the results of [Resolve], what the group balances over. The group keeps list.
func (g *Group) Use(list []Endpoint) {
	old := g.live.Load()
	if old != nil && slices.Equal(old.list, list) {
		return
	}
	e := &endpoints{list: list}
	if g.balance == conf.Maglev && len(list) > 1 {
		e.maglev = maglevTable(list)
	}
	g.live.Store(e)
}

// Start decides where a new connection or flow goes: the number to give to Endpoint.
func (g *Group) Start(client, dst netip.AddrPort) uint32 {
	e := g.live.Load()
	switch {
	case len(e.list) < 2:
		return 0
	case e.maglev != nil:
		return uint32(e.maglev[hashPair(client, dst)%uint64(len(e.maglev))])
	}
	return g.next.Add(1)
}

// Endpoint returns the endpoint to try in an attempt, counted from 0, of a connection that Start gave a number to. It
// returns false once every endpoint has been tried, and at once while no name has resolved.
func (g *Group) Endpoint(start uint32, attempt int) (Endpoint, bool) {
	list := g.live.Load().list
	if attempt >= len(list) {
		return Endpoint{}, false
	}
	return list[(uint64(start)+uint64(attempt))%uint64(len(list))], true
}

// Endpoints returns what the group balances over now. The caller must not change it.
func (g *Group) Endpoints() []Endpoint { return g.live.Load().list }
