package upstream

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"anyport/conf"
)

// Pool keeps the members of all routes, so that the connections of an endpoint and its health outlive a configuration
// as long as the endpoint and its route's name stay. Its methods are safe for concurrent use.
type Pool struct {
	log      *changeLog
	checker  *checker
	lost     chan struct{}             // see Lost
	byNumber atomic.Pointer[[]*Member] // by Member.number; an entry stays as long as a claim is held

	mu      sync.Mutex // guards the fields below
	rosters map[string]*roster
	members map[memberKey]*Member
	vacant  []uint32 // numbers that no member has
}

type memberKey struct {
	roster   *roster
	endpoint endpointKey
}

// NewPool returns a pool that logs to logger, or not if it is nil.
func NewPool(logger *slog.Logger) *Pool {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{log: &changeLog{logger: logger}, checker: newChecker(probe), lost: make(chan struct{}, 1), rosters: make(map[string]*roster),
		members: make(map[memberKey]*Member)}
	p.byNumber.Store(&[]*Member{nil}) // nobody is number 0
	return p
}

// Run makes health checks until ctx is done. It is called once.
func (p *Pool) Run(ctx context.Context) { p.checker.run(ctx) }

// Lost returns a channel that gets a value after members have gone out, or are closing, for whoever ends flows to them.
func (p *Pool) Lost() <-chan struct{} { return p.lost }

func (p *Pool) tellLost() {
	select {
	case p.lost <- struct{}{}:
	default: // whoever listens will look anyway
	}
}

// Group returns a group for a route, which is in use after its first Use.
func (p *Pool) Group(r *conf.Route) *Group {
	g := &Group{specs: r.Upstreams, balance: r.Balance, route: r, pool: p, roster: p.roster(r.Name)}
	g.live.Store(&endpoints{})
	return g
}

func (p *Pool) roster(route string) *roster {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rosters[route]
	if r == nil {
		r = &roster{route: route, log: p.log, wentOut: p.tellLost}
		p.rosters[route] = r
	}
	return r
}

// adopt makes list that of g's route, and gives each endpoint its member.
func (p *Pool) adopt(g *Group, list []Endpoint) {
	members := make([]*Member, len(list))
	p.mu.Lock()
	for i := range list {
		members[i] = p.member(memberKey{g.roster, list[i].key()})
		list[i].member = members[i]
		members[i].portFixed.Store(list[i].spec.Port != 0 || g.route.OnePort() != 0)
	}
	p.mu.Unlock()
	g.roster.replace(members, policyOf(g.route))
}

// member returns the member with a key, a new one if need be.
func (p *Pool) member(k memberKey) *Member {
	m := p.members[k]
	if m == nil {
		m = &Member{key: k.endpoint, roster: k.roster}
		m.share.Store(fullShare)
		p.number(m)
		p.members[k] = m
	}
	return m
}

// number gives m a number. Nobody holds a claim on one that is vacant, so nobody looks at its entry.
func (p *Pool) number(m *Member) {
	all := *p.byNumber.Load()
	if last := len(p.vacant) - 1; last >= 0 {
		m.number, p.vacant = p.vacant[last], p.vacant[:last]
		all[m.number] = m
		return
	}
	m.number = uint32(len(all))
	all = append(slices.Clip(all), m)
	p.byNumber.Store(&all)
}

func (p *Pool) at(number uint32) *Member { return (*p.byNumber.Load())[number] }

// forgetAfter is how long a member that has gone is kept at least: longer than connections may begin that were steered
// by the configuration before (route.Grace).
const forgetAfter = 10 * time.Second

// Settle tells the pool that groups are those in force, all that are: what members other routes had are gone, those that
// have been gone for long and have no claim are forgotten, and health checks are made of those that are there. UDP checks
// leave from the first of udpSources that is of the upstream's family, if there is one. It reports whether there are
// connections or flows to members that are closing.
func (p *Pool) Settle(groups []*Group, udpSources []conf.UDPSource) (closing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	closing = p.clearAway(groups)
	if closing {
		p.tellLost()
	}
	wanted := make(map[checkKey][]*Member)
	for _, g := range groups {
		g.addChecks(wanted, udpSources)
	}
	p.checker.want(wanted)
	return closing
}

// addChecks adds the checks that the group wants.
func (g *Group) addChecks(wanted map[checkKey][]*Member, udpSources []conf.UDPSource) {
	h := g.route.HealthCheck
	if h.Type == conf.NoCheck {
		return
	}
	for _, e := range g.Endpoints() {
		key := checkKey{HealthCheck: h, target: netip.AddrPortFrom(e.Addr, g.route.CheckPort(e.spec))}
		key.Port = 0 // it is in the target
		if h.Type == conf.UDPCheck {
			key.source = sourceOf(e.Addr, udpSources)
		}
		wanted[key] = append(wanted[key], e.member)
	}
}

func sourceOf(addr netip.Addr, sources []conf.UDPSource) netip.Addr {
	for _, s := range sources {
		if s.Addr.Is4() == addr.Is4() {
			return s.Addr
		}
	}
	return netip.Addr{}
}

// clearAway lets go of what other groups than those in force have had, and reports whether some of it is closing.
func (p *Pool) clearAway(groups []*Group) (closing bool) {
	needed := make(map[*roster]bool, len(groups))
	for _, g := range groups {
		needed[g.roster] = true
	}
	for _, r := range p.rosters {
		if !needed[r] {
			r.disband()
		}
	}
	for key, m := range p.members {
		if !p.forget(key, m) {
			needed[m.roster] = true
			closing = m.roster.close(m) || closing
		}
	}
	for route, r := range p.rosters {
		if !needed[r] {
			delete(p.rosters, route)
		}
	}
	return closing
}

// forget removes a member that nobody needs any more, and reports whether it did.
func (p *Pool) forget(key memberKey, m *Member) bool {
	if !m.roster.isLongGone(m) || !m.active.CompareAndSwap(0, retired) {
		return false
	}
	delete(p.members, key)
	p.vacant = append(p.vacant, m.number)
	return true
}
