package proxy

import (
	"maps"
	"net/netip"
	"slices"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/upstream"
)

// addSources gives the UDP data plane the NAT addresses and ports that g lists, or where it lists none, those that the
// endpoints are reached from. Those that it has already stay as they are.
func (s *Server) addSources(g *Generation, fresh [][]upstream.Endpoint) error {
	wanted := g.config.UDPSources
	if len(wanted) == 0 {
		wanted = s.routedSources(g, fresh)
	}
	for _, src := range wanted {
		if _, known := s.sources[src]; known {
			continue
		}
		ports, err := s.udp.AddSource(src)
		if err != nil {
			return err
		}
		s.sources[src] = ports
	}
	return nil
}

// routedSources returns a source for each address that routing chooses towards upstreams of UDP and that has no ports
// yet.
func (s *Server) routedSources(g *Generation, fresh [][]upstream.Endpoint) []conf.UDPSource {
	known := s.replyPorts()
	var missing []conf.UDPSource
	for i, list := range fresh {
		for _, e := range list {
			if g.udp[i] && e.Source.IsValid() && known[e.Source] == nil {
				missing = append(missing, conf.UDPSource{Addr: e.Source, Ports: conf.DefaultUDPPorts})
			}
		}
	}
	return missing
}

// steerSources brings sources that the kernel does not know yet to its knowledge, beside the rules in force. Before the
// first generation nothing is steered here, and its rules will bring the sources along.
func (s *Server) steerSources() error {
	if s.current == nil || s.steered == len(s.sources) {
		return nil
	}
	table, err := s.compile(s.current)
	if err != nil {
		return err
	}
	if err := s.publish(table); err != nil {
		return err
	}
	s.steered = len(s.sources)
	return nil
}

// replyPorts returns the ports of every NAT address, sorted.
func (s *Server) replyPorts() map[netip.Addr][]rule.PortRange {
	all := make(map[netip.Addr][]rule.PortRange, len(s.sources))
	for src, ports := range s.sources {
		all[src.Addr] = append(all[src.Addr], ports...)
	}
	for _, ports := range all {
		slices.SortFunc(ports, func(a, b rule.PortRange) int { return int(a.First) - int(b.First) })
	}
	return all
}

// ReplySources returns the NAT addresses in use, each with the ports that are steered to the replies' socket.
func (s *Server) ReplySources() map[netip.Addr][]rule.PortRange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replyPorts()
}

// WithReplies returns set with a rule for each NAT address, which steers the replies of UDP upstreams to
// [conf.ServiceReplies]. A NAT address outside the served prefixes joins them as one whose other ports are the host's:
// a rule passes them, since a rule without prefix would claim them otherwise. The rules come in the order of addresses.
func WithReplies(set rule.Set, sources map[netip.Addr][]rule.PortRange) rule.Set {
	with := rule.Set{Prefixes: slices.Clone(set.Prefixes), Rules: slices.Clone(set.Rules)}
	for _, a := range slices.SortedFunc(maps.Keys(sources), netip.Addr.Compare) {
		host := netip.PrefixFrom(a, a.BitLen())
		with.Rules = append(with.Rules, rule.Rule{Name: conf.RepliesName + "-" + a.String(), Protocol: rule.UDP,
			Prefixes: []netip.Prefix{host}, Ports: sources[a], Verdict: rule.Steer,
			Service: conf.ServiceReplies, Fallback: rule.NoService})
		served := slices.ContainsFunc(set.Prefixes, func(p rule.Prefix) bool { return p.Contains(a) })
		if !served {
			with.Prefixes = append(with.Prefixes, rule.Prefix{Prefix: host, Open: true})
			with.Rules = append(with.Rules, rule.Rule{Name: conf.RepliesName + "-host-" + a.String(),
				Prefixes: []netip.Prefix{host}, Verdict: rule.Pass})
		}
	}
	return with
}
