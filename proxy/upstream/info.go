package upstream

import "time"

// Info is an endpoint as an operator wants to see it.
type Info struct {
	Upstream string    `json:"upstream"` // as it would be written in a configuration, without options
	Weight   int       `json:"weight"`
	Backup   bool      `json:"backup"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"`            // when it came, or last went out or in
	Reason   string    `json:"reason,omitempty"` // why it is out
	Active   int       `json:"active"`           // connections and flows, those that are connecting included
	Failures uint64    `json:"connect_failures"`
}

// State says whether an endpoint takes connections, and if not, why.
type State string

// What an endpoint is.
const (
	Up        State = "up"
	SlowStart State = "slow_start" // takes a part of its share, which grows
	Ejected   State = "ejected"    // by connects that failed
	Down      State = "down"       // by health checks that failed
	Removed   State = "removed"    // from the configuration or DNS, with connections that go on
)

func (m *Member) info(place *Endpoint) Info {
	i := Info{Upstream: m.key.String(), Since: m.since, State: m.state(), Active: m.Active(), Failures: m.failures.Load()}
	switch i.State {
	case Ejected:
		i.Reason = m.cause
	case Down:
		i.Reason = m.downCause
	}
	if place != nil {
		i.Weight, i.Backup = int(place.weight()), place.spec.Backup
	}
	return i
}

// state must be called with roster.mu held.
func (m *Member) state() State {
	switch {
	case !m.present:
		return Removed
	case m.down:
		return Down
	case m.ejected:
		return Ejected
	case m.ramp != nil:
		return SlowStart
	}
	return Up
}

// Info returns the group's endpoints, in their order.
func (g *Group) Info() []Info {
	g.roster.mu.Lock()
	defer g.roster.mu.Unlock()
	list := g.Endpoints()
	infos := make([]Info, len(list))
	for i := range list {
		infos[i] = list[i].member.info(&list[i])
	}
	return infos
}

// Removed returns the endpoints that have gone and still have connections, by route.
func (p *Pool) Removed() map[string][]Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := make(map[string][]Info)
	for _, m := range p.members {
		m.roster.mu.Lock()
		if !m.present && m.Active() > 0 {
			i := m.info(nil)
			i.Since = m.goneSince
			gone[m.roster.route] = append(gone[m.roster.route], i)
		}
		m.roster.mu.Unlock()
	}
	return gone
}
