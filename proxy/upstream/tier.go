package upstream

import "anyport/conf"

// tier is the endpoints that are no backups, or those that are.
type tier struct {
	places []uint8 // in the group's list
	slots  []uint8 // Maglev's table or the turns of round robin: places; nil where the balance needs none
}

func newTier(list []Endpoint, balance conf.Balance, backup bool) tier {
	var t tier
	for i := range list {
		if list[i].spec.Backup == backup {
			t.places = append(t.places, uint8(i))
		}
	}
	switch {
	case len(t.places) < 2:
	case balance == conf.Maglev:
		t.slots = maglevTable(list, t.places)
	case balance == conf.RoundRobin:
		t.slots = turns(list, t.places)
	}
	return t
}

// pick returns a place that is admitted, or -1.
func (t *tier) pick(g *Group, list []Endpoint, c *Choice, a admission) int {
	switch {
	case len(t.places) < 2:
		return t.walk(list, c, a, 0)
	case g.balance == conf.Maglev:
		return t.byHash(list, c, a)
	case g.balance == conf.RoundRobin:
		return t.byTurn(g, list, c, a)
	}
	return t.leastLoaded(g, list, c, a)
}

// probes is how many slots are looked at before the endpoints are taken one by one: so many miss the half of an evenly
// weighted tier that is in once in millions, and a single one that is in about every seventh time.
func (t *tier) probes() int { return 2*len(t.places) + 8 }

// byHash looks where the hash of the client leads, and then where the hash of that does. The order depends on nothing
// but the client, the destination and the configuration: nodes that see different members out agree on all clients
// whose first one is in.
func (t *tier) byHash(list []Endpoint, c *Choice, a admission) int {
	h := uint64(c.hash)
	for range t.probes() {
		place := int(t.slots[h%uint64(len(t.slots))])
		if a.admits(list, place, c, uint64(c.hash)) {
			return place
		}
		h = mix(h)
	}
	return t.walk(list, c, a, uint64(c.hash))
}

// byTurn takes the next turn. One that is not admitted is passed over for good, so that no neighbour in the order gets
// all of its connections.
func (t *tier) byTurn(g *Group, list []Endpoint, c *Choice, a admission) int {
	turn := uint64(0)
	for range t.probes() {
		turn = uint64(g.next.Add(1))
		place := int(t.slots[turn%uint64(len(t.slots))])
		if a.admits(list, place, c, turn<<8) {
			return place
		}
	}
	return t.walk(list, c, a, turn)
}

// leastLoaded takes the endpoint with the fewest claims for its weight and share, of equal ones each in turn.
func (t *tier) leastLoaded(g *Group, list []Endpoint, c *Choice, a admission) int {
	if a == byShare {
		a = ifIn // the share counts as weight
	}
	start, best := int(g.next.Add(1)), -1
	var load, due uint64
	for i := range t.places {
		place := int(t.places[(start+i)%len(t.places)])
		if !a.admits(list, place, c, 0) {
			continue
		}
		m := list[place].member
		itsLoad, itsDue := uint64(m.Active())+1, list[place].weight()*uint64(max(m.share.Load(), 1))
		if best < 0 || itsLoad*due < load*itsDue {
			best, load, due = place, itsLoad, itsDue
		}
	}
	return best
}

// walk takes the first endpoint that is admitted, from a start on.
func (t *tier) walk(list []Endpoint, c *Choice, a admission, start uint64) int {
	for i := range t.places {
		place := int(t.places[(start+uint64(i))%uint64(len(t.places))])
		if a.admits(list, place, c, start) {
			return place
		}
	}
	return -1
}
