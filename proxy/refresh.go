package proxy

import (
	"context"
	"time"
)

const (
	// lookForDue is how often the proxy looks whether a name has to be looked up: as often as the least that
	// resolve_interval_min may be.
	lookForDue = time.Second
	// refreshSources is how often it asks the host's routes at least which addresses it reaches upstreams from.
	refreshSources = 30 * time.Second
)

// refreshLoop keeps the current generation's upstreams fresh until ctx is done.
func (s *Server) refreshLoop(ctx context.Context) {
	tick := time.NewTicker(lookForDue)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := s.names.Due()
		if len(due) == 0 && time.Since(last) < refreshSources {
			continue
		}
		last = time.Now()
		if err := s.refresh(ctx, due); err != nil && ctx.Err() == nil {
			s.logger.Warn("refresh upstreams", "error", err)
		}
	}
}

// refresh looks names up and gives the current generation's upstreams what they lead to now. Where one is reached from an address that was not used
// before, that address is steered first, so that no datagram leaves whose reply would not come to us. If that fails,
// the endpoints stay as they are. A name that does not resolve keeps its last good addresses, and is an error too.
func (s *Server) refresh(ctx context.Context, names []string) error {
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	lookupErr := s.names.LookUp(ctx, names) // slow: not under the lock
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fresh := s.names.Endpoints(g.groups)
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
