package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/upstream"
)

// Generation is one configuration made ready to serve, by [Server.Prepare]. It belongs to the server that made it.
type Generation struct {
	config  *conf.Config
	rules   rule.Set // the configuration's, without the reply rules
	table   *route.Table
	routes  []*route.Route // by rule index; nil where the rule leads to no upstream
	groups  []*upstream.Group
	steered []*conf.Route         // by group
	udp     []bool                // by group: datagrams may go there
	fresh   [][]upstream.Endpoint // by group: what Prepare resolved; nil once it is in use
}

// Config returns the configuration that the generation was made of.
func (g *Generation) Config() *conf.Config { return g.config }

// Prepare does for cfg what takes time: it compiles the rules and resolves the upstreams. Nothing changes before Apply.
// A name that does not resolve is logged and keeps its last good addresses, if an upstream in force has the name.
// When ctx is done, Prepare returns its error.
func (s *Server) Prepare(ctx context.Context, cfg *conf.Config) (*Generation, error) {
	set := cfg.RuleSet()
	compiled, err := rule.Compile(set)
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	g := &Generation{config: cfg, rules: set, routes: make([]*route.Route, len(set.Rules))}
	sources := route.NewSources(cfg.TCPSources)
	for i := range cfg.Routes {
		if r := &cfg.Routes[i]; r.Action == rule.Steer {
			g.add(i, r, s.newRoute(r, sources))
		}
	}
	g.table = route.NewTable(compiled, g.routes)
	err = s.names.LookUp(ctx, upstream.NamesOf(g.groups))
	g.fresh = s.names.Endpoints(g.groups)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("resolve upstreams: %w", context.Cause(ctx))
	}
	if err != nil {
		s.logger.Warn("some upstreams are not there yet", "error", err)
	}
	return g, nil
}

func (g *Generation) add(index int, c *conf.Route, r *route.Route) {
	g.routes[index] = r
	g.groups = append(g.groups, r.Upstreams)
	g.steered = append(g.steered, c)
	g.udp = append(g.udp, c.Protocol != rule.TCP)
}

func (s *Server) newRoute(r *conf.Route, sources route.Sources) *route.Route {
	return &route.Route{
		Name:           r.Name,
		Upstreams:      s.pool.Group(r),
		ProxyProtocol:  r.ProxyProtocol,
		HeaderSenders:  prefixSet(r.HeaderSenders),
		HeaderTimeout:  r.HeaderTimeout,
		ClientSource:   r.Source == conf.SourceClient,
		Sources:        sources,
		ConnectTimeout: r.ConnectTimeout,
		TCPIdle:        r.TCPIdle,
		UDPIdle:        r.UDPIdle,
		OffloadAfter:   offloadAfter(r),
		HalfClose:      r.HalfClose,
		UserTimeout:    r.UserTimeout,
		Keepalive:      r.Keepalive,
		MaxConnections: r.MaxConnections,
		MaxFlows:       r.MaxFlows,
		MaxDatagram:    r.MaxDatagram,
		Stats:          s.registry.Route(r.Name),
	}
}

// prefixSet returns a set for look-ups, or nil for none.
func prefixSet(prefixes []netip.Prefix) *bart.Lite {
	if len(prefixes) == 0 {
		return nil
	}
	set := new(bart.Lite)
	for _, p := range prefixes {
		set.Insert(p)
	}
	return set
}

// Apply puts g in force: its table replaces the one in user space, then the one in the kernel. If a step fails, the
// generation before stays in force and the error says why. A generation that was in force may be applied again; the
// one that is stays.
//
// The NAT addresses and ports that g needs are added to those of the generations before. These stay steered, as flows
// that were opened from them wait for their replies; new flows leave from those that g lists.
func (s *Server) Apply(g *Generation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g == s.current {
		return nil
	}
	if err := s.addSources(g, g.fresh); err != nil {
		return err
	}
	if err := s.steerSources(); err != nil {
		return err
	}
	fresh := g.fresh
	if fresh == nil {
		fresh = g.endpoints()
	}
	if err := s.addReturnPaths(g, fresh); err != nil {
		return err
	}
	if err := s.addListeners(g); err != nil {
		return err
	}
	if err := s.swap(g); err != nil {
		return err
	}
	s.udp.useSources(g.config.UDPSources)
	s.udp.followRoutes(g.udpRoutes())
	return nil
}

// udpRoutes returns the routes that claim datagrams, by name.
func (g *Generation) udpRoutes() map[string]*route.Route {
	routes := make(map[string]*route.Route)
	for i, r := range g.routes {
		if r != nil && g.config.Routes[i].Protocol != rule.TCP {
			routes[r.Name] = r
		}
	}
	return routes
}

// swap makes g the current generation, in user space first: a packet that the kernel still judges by the generation
// before finds its route there (see route.Grace).
func (s *Server) swap(g *Generation) error {
	table, err := s.compile(g)
	if err != nil {
		return err
	}
	before := &route.Table{}
	if s.current != nil {
		before = s.current.table
	}
	g.use(g.fresh)
	s.live.Swap(g.table)
	if err := s.publish(table); err != nil {
		s.live.Swap(before)
		s.live.Swap(before) // twice: g's table must not answer misses for the grace either
		if s.current != nil {
			s.current.use(nil)
		}
		return err
	}
	s.current, s.steered = g, len(s.sources)
	s.names.Use(g.groups, g.config.ResolveMin, g.config.ResolveMax)
	s.claimReturnPaths(g)
	s.settle(g)
	return nil
}

// use puts each group in force with its endpoints; none at all are what the groups already have.
func (g *Generation) use(fresh [][]upstream.Endpoint) {
	for i, group := range g.groups {
		if fresh == nil {
			group.Use(group.Endpoints())
		} else {
			group.Use(fresh[i])
		}
	}
	g.fresh = nil
}

// compile returns g's rules for the kernel.
func (s *Server) compile(g *Generation) (*rule.Table, error) {
	table, err := rule.Compile(WithReplies(g.rules, s.replyPorts()))
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	return table, nil
}

// Names returns the DNS names among the upstreams in force, sorted.
func (s *Server) Names() []upstream.NameInfo { return s.names.Info() }

// RouteInfo is a route in force, as an operator wants to see it.
type RouteInfo struct {
	Name      string
	Action    rule.Verdict
	Upstreams []upstream.Info // as resolved now; removed ones with open connections last
}

// Routes returns the routes in force, in the order of the configuration.
func (s *Server) Routes() []RouteInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	var list []RouteInfo
	removed := s.pool.Removed()
	for i, r := range s.current.config.Routes {
		info := RouteInfo{Name: r.Name, Action: r.Action}
		if steered := s.current.routes[i]; steered != nil {
			info.Upstreams = append(steered.Upstreams.Info(), removed[r.Name]...)
		}
		list = append(list, info)
	}
	return list
}
