package conf

import (
	"net/netip"

	"github.com/gaissmai/bart"
	"github.com/pelletier/go-toml/v2/unstable"
)

// MaxRules is how many routes and DNS servers a configuration may have: for each, the kernel's program has counters.
const MaxRules = 16384

// check holds the parts of a configuration against each other, and against the host if there is one.
func (d *decoder) check(c *draft, host *Host) {
	served := servedPrefixes(&c.Config)
	d.checkServed(c)
	d.checkTproxy(c)
	d.checkIntervals(c)
	if n := len(c.routes) + len(c.dns); n > MaxRules {
		d.fault(value{line: 1}, "", "%d routes and DNS servers, but there are counters for %d only", n, MaxRules)
	}
	if len(c.routes)+len(c.dns) == 0 {
		d.warn(value{line: 1}, "", "no rule claims anything: there is no [[route]] and no [[dns]]")
	}
	d.checkNames(c)
	d.checkLoops(c, served)
	d.checkOwnAddresses(c, served)
	if host != nil {
		d.checkHost(c, host)
	}
	d.checkRules(c)
}

// servedPrefixes returns all served prefixes, sealed and open.
func servedPrefixes(c *Config) *bart.Lite {
	served := new(bart.Lite)
	for _, list := range [][]netip.Prefix{c.Prefixes, c.OpenPrefixes} {
		for _, p := range list {
			served.Insert(p)
		}
	}
	return served
}

// within returns the longest served prefix that contains an address.
func within(served *bart.Lite, addr netip.Addr) (netip.Prefix, bool) {
	if !addr.IsValid() {
		return netip.Prefix{}, false
	}
	return served.LookupPrefixLPM(netip.PrefixFrom(addr, addr.BitLen()))
}

// each visits the values of a list that can be read, each with its place.
func each[V any](list value, parse func(string) (V, *finding), visit func(item value, v V)) {
	for _, item := range list.items {
		if item.kind != unstable.String {
			continue
		}
		if v, f := parse(item.text); f == nil || f.meant {
			visit(item, v)
		}
	}
}

// checkServed wants at least one prefix, and none that is both sealed and open.
func (d *decoder) checkServed(c *draft) {
	if c.top.good("prefixes", "open_prefixes") && len(c.Prefixes)+len(c.OpenPrefixes) == 0 {
		d.fault(c.top.at("prefixes"), `name the prefixes that are routed to this host, as in prefixes = ["198.18.0.0/20"]`,
			"there is no prefix to serve")
	}
	sealed := map[netip.Prefix]int{}
	each(c.top.at("prefixes"), parseServed, func(item value, p netip.Prefix) { sealed[p] = item.line })
	each(c.top.at("open_prefixes"), parseServed, func(item value, p netip.Prefix) {
		if line, twice := sealed[p]; twice {
			d.fault(item, "keep it in one of the two", "%s is sealed by prefixes on line %d", p, line)
		}
	})
}

// checkTproxy refuses what only an sk_lookup program can do.
func (d *decoder) checkTproxy(c *draft) {
	if c.TproxyPort == 0 {
		return
	}
	if c.UDPWorkers > 1 {
		d.fault(c.top.at("tproxy_port"), "remove it, or set udp_workers = 1", "%d UDP workers need sk_lookup", c.UDPWorkers)
	}
	for _, s := range c.DNS {
		d.fault(c.top.at("tproxy_port"), "remove it, or the server", "the DNS server %q needs sk_lookup", s.Name)
	}
	for _, got := range c.routes {
		for _, key := range []string{"connection_rate_per_source", "mss"} {
			if got.given(key) {
				d.fault(got.at(key), "remove it, or tproxy_port", "needs sk_lookup, which tproxy_port turns off")
			}
		}
	}
}

// checkIntervals holds the bounds of the interval of look-ups against each other.
func (d *decoder) checkIntervals(c *draft) {
	if c.top.good("resolve_interval_min", "resolve_interval_max") && c.ResolveMin > c.ResolveMax {
		at := c.top.at("resolve_interval_max")
		if !c.top.given("resolve_interval_max") {
			at = c.top.at("resolve_interval_min")
		}
		d.fault(at, "raise resolve_interval_max or lower resolve_interval_min",
			"the least interval, %v, is longer than the most, %v", c.ResolveMin, c.ResolveMax)
	}
}

// checkNames makes sure that no two rules have one name: counters are kept by it.
func (d *decoder) checkNames(c *draft) {
	lines := map[string]int{}
	unique := func(got reading, name string) {
		if !got.good("name") {
			return
		}
		if line, taken := lines[name]; taken {
			d.fault(got.at("name"), "choose another", "the name %q is taken by line %d", name, line)
			return
		}
		lines[name] = got.at("name").line
	}
	for i, r := range c.Routes {
		unique(c.routes[i], r.Name)
	}
	for i, s := range c.DNS {
		unique(c.dns[i], s.Name)
	}
}

// checkLoops refuses upstreams that would come straight back to us.
func (d *decoder) checkLoops(c *draft, served *bart.Lite) {
	for _, got := range c.routes {
		each(got.at("upstream"), parseUpstream, func(item value, u Upstream) {
			if p, inside := within(served, u.Addr); inside {
				d.fault(item, "name an address outside the served prefixes",
					"%s lies inside %s, which is served here: a loop", u.Addr, p)
			}
		})
	}
}

// checkOwnAddresses refuses addresses for our own sockets that lie where packets are steered away from them.
func (d *decoder) checkOwnAddresses(c *draft, served *bart.Lite) {
	const hint = "use an address outside the served prefixes"
	if p, inside := within(served, c.Metrics.Addr()); inside {
		d.fault(c.top.at("metrics"), hint, "%s lies inside %s, which is served here", c.Metrics.Addr(), p)
	}
	each(c.top.at("tcp_sources"), parseTCPSource, func(item value, a netip.Addr) {
		if p, inside := within(served, a); inside {
			d.fault(item, hint, "%s lies inside %s, which is served here", a, p)
		}
	})
	lines := map[netip.Addr]int{}
	each(c.top.at("udp_sources"), parseUDPSource, func(item value, s UDPSource) {
		if p, inside := within(served, s.Addr); inside {
			d.fault(item, hint, "%s lies inside %s, which is served here", s.Addr, p)
		}
		if n := int(s.Ports.Last) - int(s.Ports.First) + 1; n < c.UDPWorkers {
			d.fault(item, "name a larger range", "%d ports are too few for %d UDP workers", n, c.UDPWorkers)
		}
		if line, twice := lines[s.Addr]; twice {
			d.fault(item, "give each address one range of ports", "%s is already listed on line %d", s.Addr, line)
		}
		lines[s.Addr] = item.line
	})
}
