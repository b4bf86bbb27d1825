package zone

import (
	"hash/maphash"
	"slices"

	"anyport/proxy/dns/wire"
)

// Zones is the zones that a server serves at one time. It is never changed, so it is safe for concurrent use. The zero
// value has none.
type Zones struct {
	seed  maphash.Seed
	slots []zoneSlot // a power of two, at most half full
	list  []*Zone
	depth [2]uint64 // which numbers of labels an apex has
}

type zoneSlot struct {
	hash uint64
	zone *Zone
}

// NewZones returns the set of some zones, of which no two have the same apex.
func NewZones(list []*Zone) *Zones {
	size := 2
	for size < 2*len(list) {
		size *= 2
	}
	s := &Zones{seed: maphash.MakeSeed(), slots: make([]zoneSlot, size), list: slices.Clone(list)}
	for _, z := range list {
		h := maphash.Bytes(s.seed, z.apex.Wire())
		i := h & uint64(size-1)
		for s.slots[i].zone != nil {
			i = (i + 1) & uint64(size-1)
		}
		s.slots[i] = zoneSlot{h, z}
		d := z.apex.Labels()
		s.depth[d/64] |= 1 << (d % 64)
	}
	return s
}

// List returns the zones, not to be changed.
func (s *Zones) List() []*Zone { return s.list }

// Get returns the zone of that apex, or nil.
func (s *Zones) Get(apex *wire.Name) *Zone { return s.lookup(apex.Wire()) }

// Find returns the zone to ask about a name: the one with the longest apex that the name equals or lies below, or nil.
// DS records belong to the parent's side of a delegation (RFC 4035 section 3.1.4.1): for them a zone whose apex is the
// name itself comes last.
func (s *Zones) Find(name *wire.Name, qtype uint16) *Zone {
	skip := 0
	if qtype == wire.TypeDS && name.Labels() > 0 {
		skip = 1
	}
	for i := skip; i <= name.Labels(); i++ {
		d := name.Labels() - i
		if s.depth[d/64]>>(d%64)&1 == 0 {
			continue
		}
		if z := s.lookup(name.Suffix(i)); z != nil {
			return z
		}
	}
	if skip > 0 {
		return s.lookup(name.Wire())
	}
	return nil
}

func (s *Zones) lookup(apex []byte) *Zone {
	if len(s.slots) == 0 {
		return nil
	}
	h := maphash.Bytes(s.seed, apex)
	mask := uint64(len(s.slots) - 1)
	for i := h & mask; s.slots[i].zone != nil; i = (i + 1) & mask {
		if e := &s.slots[i]; e.hash == h && string(e.zone.apex.Wire()) == string(apex) {
			return e.zone
		}
	}
	return nil
}
