package proxy

import (
	"fmt"
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
		ports, err := s.udp.addSource(src)
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

// ReplyPorts is the ports of NAT addresses, for each UDP worker those that are steered to its socket, sorted.
type ReplyPorts map[netip.Addr][][]rule.PortRange

// All returns each address with its ports, sorted.
func (p ReplyPorts) All() map[netip.Addr][]rule.PortRange {
	all := make(map[netip.Addr][]rule.PortRange, len(p))
	for a, workers := range p {
		all[a] = slices.Concat(workers...)
		sortPorts(all[a])
	}
	return all
}

func sortPorts(list []rule.PortRange) {
	slices.SortFunc(list, func(a, b rule.PortRange) int { return int(a.First) - int(b.First) })
}

func (s *Server) replyPorts() ReplyPorts {
	all := make(ReplyPorts, len(s.sources))
	for src, workers := range s.sources {
		if all[src.Addr] == nil {
			all[src.Addr] = make([][]rule.PortRange, len(workers))
		}
		for i, ports := range workers {
			list := append(all[src.Addr][i], ports...)
			sortPorts(list)
			all[src.Addr][i] = list
		}
	}
	return all
}

// ReplySources returns the NAT addresses in use.
func (s *Server) ReplySources() ReplyPorts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replyPorts()
}

// WithReplies returns set with a rule for each NAT address and UDP worker, which steers the replies of upstreams to
// [conf.RepliesService]. A NAT address outside the served prefixes joins them as one whose other ports are the host's:
// a rule passes them, since a rule without prefix would claim them otherwise. The rules come in the order of addresses.
func WithReplies(set rule.Set, sources ReplyPorts) rule.Set {
	with := rule.Set{Prefixes: slices.Clone(set.Prefixes), Rules: slices.Clone(set.Rules)}
	for _, a := range slices.SortedFunc(maps.Keys(sources), netip.Addr.Compare) {
		host := netip.PrefixFrom(a, a.BitLen())
		for worker, ports := range sources[a] {
			with.Rules = append(with.Rules, rule.Rule{Name: repliesName(a, worker), Protocol: rule.UDP,
				Prefixes: []netip.Prefix{host}, Ports: ports, Verdict: rule.Steer,
				Service: conf.RepliesService(worker), Fallback: rule.NoService})
		}
		served := slices.ContainsFunc(set.Prefixes, func(p rule.Prefix) bool { return p.Contains(a) })
		if !served {
			with.Prefixes = append(with.Prefixes, rule.Prefix{Prefix: host, Open: true})
			with.Rules = append(with.Rules, rule.Rule{Name: conf.RepliesName + "-host-" + a.String(),
				Prefixes: []netip.Prefix{host}, Verdict: rule.Pass})
		}
	}
	return with
}

// repliesName names the rule for a worker's replies. With one worker, as usual, it says nothing of workers.
func repliesName(nat netip.Addr, worker int) string {
	name := conf.RepliesName + "-" + nat.String()
	if worker > 0 {
		name += fmt.Sprintf("-worker-%d", worker)
	}
	return name
}
