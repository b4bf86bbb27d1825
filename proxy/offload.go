package proxy

import (
	"anyport/conf"
	"anyport/proxy/offload"
	"anyport/proxy/udp"
)

// offloadAfter returns from how many datagrams on the kernel is to forward a route's flows; 0 is never.
func offloadAfter(r *conf.Route) int {
	if !r.Offload {
		return 0
	}
	return r.OffloadAfter
}

// OffloadTo has the flows of routes that want it go to t from now on, and takes over those that a process before this one
// has left there, as far as the generation in force still claims them. It returns how many it has taken, and how many
// were ended. A generation is in force.
func (s *Server) OffloadTo(t *offload.Table) (kept, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.udp.useOffloader(t)
	return udp.Adopt(s.udp.engines, t, s.current.udpRoutes())
}
