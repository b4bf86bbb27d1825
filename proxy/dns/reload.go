package dns

import (
	"runtime/debug"
	"time"

	"anyport/proxy/dns/zone"
)

// Reload reads all zone files that are new or have changed, now, and puts their zones in force between two queries. A
// file with a fault leaves its zone as it was. The error joins what is wrong, each fault with file and line.
func (s *Server) Reload() error { return s.refresh(false) }

// SetZones makes the server look for other zone files than Options.Zones, and reloads. Zones whose files no pattern
// matches any more are no longer served.
func (s *Server) SetZones(patterns []string) error {
	s.mu.Lock()
	s.keeper.SetPatterns(patterns)
	s.mu.Unlock()
	return s.refresh(false)
}

// watch looks for changed files from time to time. A file is read once it has stayed the same between two looks.
func (s *Server) watch() error {
	if s.options.Poll < 0 {
		return nil
	}
	tick := time.NewTicker(s.options.Poll)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return nil
		case <-tick.C:
			if err := s.refresh(true); err != nil {
				s.options.Logger.Error("zone files have faults; their zones stay as they were", "error", err)
			}
		}
	}
}

func (s *Server) refresh(settled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := s.keeper.Refresh(settled)
	s.zones.Store(s.keeper.Zones())
	s.tell(&change)
	tidy(&change)
	return change.Err
}

// tidy gives the memory that reading large zones took back to the system: several times what the zones themselves take.
func tidy(c *zone.Change) {
	const large = 100_000
	records := 0
	for _, l := range c.Loaded {
		records += l.Zone.Records
	}
	if records >= large {
		debug.FreeOSMemory()
	}
}

// tell logs what a refresh did.
func (s *Server) tell(c *zone.Change) {
	for _, l := range c.Loaded {
		s.options.Logger.Info("zone loaded", "zone", l.Zone.Apex().String(), "serial", l.Zone.Serial,
			"records", l.Zone.Records, "file", l.File, "time", l.Zone.LoadTime)
		for _, w := range l.Zone.Warnings {
			s.options.Logger.Warn("zone file", "warning", w.Error())
		}
	}
	for _, file := range c.Removed {
		s.options.Logger.Info("zone removed", "file", file)
	}
}
