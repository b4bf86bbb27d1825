package conf

import "slices"

// Bounds of mss: what the kernel takes for TCP_MAXSEG (TCP_MIN_MSS and MAX_TCP_WINDOW in include/net/tcp.h).
const (
	minMSS = 88
	maxMSS = 32767
)

// maxListeners bounds the values of mss in a configuration: a listener tells all of its clients one, so that each value
// takes a socket and a service.
const maxListeners = 16

// serviceListener is the service of the first listener with an mss; those of two configurations have a number each.
const serviceListener = ServiceDNS + 2*maxServers

// giveListeners gives each route the service of the listener for its mss, and reports values that are too many.
func (d *decoder) giveListeners(c *draft) {
	c.Routes = keepListeners(c.Routes, nil)
	for i, got := range c.routes {
		if c.Routes[i].Service >= serviceListener+maxListeners {
			d.fault(got.at("mss"), "use one of the values above", "there are more than %d values of mss", maxListeners)
		}
	}
}

// keepListeners returns routes under services that go with those of old: see KeepServices.
func keepListeners(routes, old []Route) []Route {
	numbers := numberListeners(routes, old)
	kept := slices.Clone(routes)
	for i := range kept {
		kept[i].Service = numbers[kept[i].MSS]
	}
	return kept
}

// numberListeners returns a service for each mss of routes: the one that it has in old, or one that old does not use.
func numberListeners(routes, old []Route) map[int]uint16 {
	known, used := map[int]uint16{0: ServiceProxy}, make(map[uint16]bool)
	for _, r := range old {
		known[r.MSS], used[r.Service] = r.Service, true
	}
	free := serviceListener
	for _, r := range routes {
		if _, done := known[r.MSS]; done {
			continue
		}
		for used[free] {
			free++
		}
		known[r.MSS], used[free] = free, true
	}
	return known
}
