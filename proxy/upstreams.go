package proxy

import "context"

// settle tells the pool what is in force, and the TCP data plane if connections have to end for it.
func (s *Server) settle(g *Generation) {
	if s.pool.Settle(g.groups, g.config.UDPSources) {
		s.tcp.EndRemoved()
	}
}

// followLoop has flows follow their upstreams until ctx is done.
func (s *Server) followLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.pool.Lost():
			s.udp.followUpstreams()
		}
	}
}
