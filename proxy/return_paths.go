package proxy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/upstream"
)

// ReturnPath is where replies to connections with a client's own address come from: they are not the host's by their
// destination, so somebody has to bring them here.
type ReturnPath struct {
	Upstream netip.Addr
	Ports    rule.PortRange
}

// maxReturnPaths bounds the policy rules that every packet of the host without a cached route is held against.
const maxReturnPaths = 1024

// heldPath is why a return path is there: the endpoint of a route.
type heldPath struct {
	route string
	path  ReturnPath
}

// addReturnPaths has the return paths brought about that g's endpoints need, beside those that are there: connections
// of generations before wait for replies on these.
func (s *Server) addReturnPaths(g *Generation, fresh [][]upstream.Endpoint) error {
	wanted := maps.Clone(s.paths)
	for held := range g.returnPaths(fresh) {
		if _, there := wanted[held]; !there {
			wanted[held] = nil
		}
	}
	return s.bringBack(wanted)
}

// claimReturnPaths notes whose connections hold the paths of g, whose endpoints are in use by now.
func (s *Server) claimReturnPaths(g *Generation) {
	maps.Copy(s.paths, g.returnPaths(g.endpoints()))
}

// bringBack makes wanted the return paths.
func (s *Server) bringBack(wanted map[heldPath]*upstream.Member) error {
	before, after := pathsOf(s.paths), pathsOf(wanted)
	if len(after) > maxReturnPaths {
		return fmt.Errorf("routes with the clients' addresses need %d policy rules; %d are the limit", len(after), maxReturnPaths)
	}
	if !slices.Equal(before, after) {
		if err := s.bringReplies(after); err != nil {
			return fmt.Errorf("bring replies to clients' addresses here: %w", err)
		}
	}
	s.paths = wanted
	return nil
}

// pathsOf returns each path once, in order.
func pathsOf(held map[heldPath]*upstream.Member) []ReturnPath {
	var list []ReturnPath
	for h := range held {
		list = append(list, h.path)
	}
	slices.SortFunc(list, func(a, b ReturnPath) int {
		if c := a.Upstream.Compare(b.Upstream); c != 0 {
			return c
		}
		if a.Ports.First != b.Ports.First {
			return int(a.Ports.First) - int(b.Ports.First)
		}
		return int(a.Ports.Last) - int(b.Ports.Last)
	})
	return slices.Compact(list)
}

// returnPaths returns the paths of g's endpoints, each with its member, which is nil before the endpoints are in use.
func (g *Generation) returnPaths(endpoints [][]upstream.Endpoint) map[heldPath]*upstream.Member {
	held := make(map[heldPath]*upstream.Member)
	for i, list := range endpoints {
		r := g.steered[i]
		if r.Source != conf.SourceClient {
			continue
		}
		for j := range list {
			for _, path := range returnPathsOf(&list[j], r.Ports) {
				held[heldPath{r.Name, path}] = list[j].Member()
			}
		}
	}
	return held
}

// returnPathsOf returns where an endpoint's replies come from, for original ports as a configuration has them.
func returnPathsOf(e *upstream.Endpoint, ports []rule.PortRange) []ReturnPath {
	if len(ports) == 0 {
		ports = []rule.PortRange{{First: 1, Last: 65535}}
	}
	paths := make([]ReturnPath, len(ports))
	for i, p := range ports {
		paths[i] = ReturnPath{e.Addr, rule.PortRange{First: e.Dial(p.First).Port(), Last: e.Dial(p.Last).Port()}}
	}
	return paths
}

// settleInterval is how often return paths are looked at that no route in force needs. A connection that a worker began
// by the generation before has a claim on its endpoint long before the second look.
const settleInterval = 2 * route.Grace

// settleLoop removes return paths and listeners that nobody needs any more, until ctx is done.
func (s *Server) settleLoop(ctx context.Context) {
	tick := time.NewTicker(settleInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.settlePaths(); err != nil {
				s.logger.Warn("remove return paths", "error", err)
			}
			s.settleListeners()
		}
	}
}

// settlePaths removes the paths that no endpoint in force needs since the last look, and no connection either.
func (s *Server) settlePaths() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.paths) == 0 || s.current == nil {
		return nil
	}
	inForce := s.current.returnPaths(s.current.endpoints())
	kept := make(map[heldPath]*upstream.Member, len(s.paths))
	idle := make(map[heldPath]bool)
	for held, member := range s.paths {
		current, needed := inForce[held]
		switch {
		case needed:
			kept[held] = current
		case member != nil && member.Active() > 0:
			kept[held] = member
		default:
			idle[held] = true
			if !s.idlePaths[held] {
				kept[held] = member
			}
		}
	}
	s.idlePaths = idle
	return s.bringBack(kept)
}

// endpoints returns what g's groups balance over.
func (g *Generation) endpoints() [][]upstream.Endpoint {
	all := make([][]upstream.Endpoint, len(g.groups))
	for i, group := range g.groups {
		all[i] = group.Endpoints()
	}
	return all
}
