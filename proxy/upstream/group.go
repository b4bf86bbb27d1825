// Package upstream turns the upstreams that a route names into addresses to dial: it resolves DNS names, keeps the
// last good answer, finds the source address that the host uses towards each, balances over what it has, and leaves
// out what does not answer.
//
// # Who owns what
//
// A [Group] is one route's upstreams in one configuration. Whoever owns the groups keeps their DNS names in a [Names],
// looks up what is due and gives each group what that led to; the data planes only ever read a group, which costs one
// atomic load. What is known of an address beyond one configuration, its open connections and its health, is a
// [Member], which a [Pool] keeps by the route's name and the address.
//
// # How an endpoint is chosen
//
// Begin and then Next, once for each attempt. The tables that Next reads are immutable; what changes is one number for
// each member, the share of its due that it gets: all of it, a part while it starts slowly, or nothing while it is
// out. Backups get something only while every other member is out. While every member is out, none is: a health check
// that fails everywhere says more about the check than about the upstreams.
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
	member *Member // of the endpoints that a group is in force with
}

// Dial returns the address to dial for a client's original destination port.
func (e *Endpoint) Dial(original uint16) netip.AddrPort {
	return netip.AddrPortFrom(e.Addr, e.spec.DialPort(original))
}

// Member returns what is known of the endpoint's address.
func (e *Endpoint) Member() *Member { return e.member }

// String returns the endpoint as it would be written in a configuration: "10.0.0.5", "10.0.0.5:22", "10.0.0.5:+1000".
func (e Endpoint) String() string { return e.key().String() }

func (e *Endpoint) key() endpointKey { return endpointKey{e.Addr, e.spec.Port, e.spec.Offset} }

func (e *Endpoint) weight() uint64 { return uint64(max(e.spec.Weight, 1)) }

// endpointKey is what makes two endpoints of a route the same one.
type endpointKey struct {
	addr         netip.Addr
	port, offset uint16
}

func (k endpointKey) String() string {
	return conf.Upstream{Addr: k.addr, Port: k.port, Offset: k.offset}.Place()
}

// Group is the upstreams of one route. Begin, Next, Member and Endpoints are safe for concurrent use and allocate
// nothing.
type Group struct {
	route   *conf.Route
	specs   []conf.Upstream // the route's
	balance conf.Balance    // the route's
	pool    *Pool
	roster  *roster

	live atomic.Pointer[endpoints]
	next atomic.Uint32 // whose turn it is
}

// endpoints is what the group's upstreams resolved to at one time.
type endpoints struct {
	list  []Endpoint
	used  bool    // by Use; else there is nothing
	tiers [2]tier // those that are no backups, then those that are
}

// NewGroup returns a group in a pool of its own, with its upstreams that are written as addresses in use and no
// ejection.
func NewGroup(specs []conf.Upstream, balance conf.Balance) *Group {
	g := NewPool(nil).Group(&conf.Route{Upstreams: specs, Balance: balance})
	g.Use(g.resolve(nil, make(routedSources)))
	return g
}

// Use makes list, one of the results of [Names.Endpoints], what the group balances over, and the group the one in force of its
// route. The list stays the caller's.
func (g *Group) Use(list []Endpoint) {
	list = slices.Clone(list)
	g.pool.adopt(g, list)
	if old := g.live.Load(); old.used && slices.Equal(old.list, list) {
		return
	}
	e := &endpoints{list: list, used: true}
	for i := range e.tiers {
		e.tiers[i] = newTier(list, g.balance, i == 1)
	}
	g.live.Store(e)
}

// Endpoints returns what the group balances over now. The caller must not change it.
func (g *Group) Endpoints() []Endpoint { return g.live.Load().list }

// Member returns the member with that number, which a claim is held on.
func (g *Group) Member(number uint32) *Member { return g.pool.at(number) }
