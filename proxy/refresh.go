package proxy

import (
	"context"
	"time"

	"anyport/proxy/upstream"
)

// refreshLoop keeps the current generation's upstreams fresh until ctx is done.
func (s *Server) refreshLoop(ctx context.Context) {
	tick := time.NewTicker(s.refreshInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
				s.logger.Warn("refresh upstreams", "error", err)
			}
		}
	}
}

// refresh resolves the current generation's upstreams again. Where one is reached from an address that was not used
// before, that address is steered first, so that no datagram leaves whose reply would not come to us. If that fails,
// the endpoints stay as they are. A name that does not resolve keeps its last good addresses, and is an error too.
func (s *Server) refresh(ctx context.Context) error {
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	fresh, lookupErr := upstream.Resolve(ctx, s.lookup, g.groups) // slow: not under the lock
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != g {
		return nil // Apply was faster, and its upstreams are fresh
	}
	if err := s.addSources(g, fresh); err != nil {
		return err
	}
	if err := s.steerSources(); err != nil {
		return err
	}
	if err := s.addReturnPaths(g, fresh); err != nil {
		return err
	}
	g.use(fresh)
	s.claimReturnPaths(g)
	s.settle(g)
	return lookupErr
}
