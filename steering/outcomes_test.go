package steering

import (
	"net/netip"
	"testing"

	"anyport/bpf"
	"anyport/conf/rule"
)

// TestOutcomes puts fit, unfit and no sockets into the slots of a service and its fallback, sends packets, and checks
// whom they met and that each was counted as what it was, and as nothing else.
func TestOutcomes(t *testing.T) {
	type slots map[uint16]string // service -> kind of socket
	for _, c := range []struct {
		name     string
		slots    slots
		fallback bool
		only4    bool // send over IPv4 only
		only6    bool
		met      string
		want     map[Outcome]uint64 // for each packet
	}{
		{"steered", slots{0: "dual"}, false, false, false, "dual", counts(Steered)},
		{"empty, no fallback", slots{}, false, false, false, refused, counts(Refused, Empty)},
		{"empty, fallback", slots{1: "dual"}, true, false, false, "dual", counts(Fallback, Empty)},
		{"both empty", slots{}, true, false, false, refused, counts(Refused, Empty, Empty)},
		{"fallback not needed", slots{0: "dual", 1: "inet"}, true, false, false, "dual", counts(Steered)},
		{"IPv4 socket, IPv4", slots{0: "inet"}, false, true, false, "inet", counts(Steered)},
		{"IPv4 socket, IPv6", slots{0: "inet"}, false, false, true, refused, counts(Refused, WrongFamily)},
		{"IPv4 socket, IPv6, fallback", slots{0: "inet", 1: "dual"}, true, false, true, "dual",
			counts(Fallback, WrongFamily)},
		{"IPv6-only socket, IPv4", slots{0: "inet6"}, false, true, false, refused, counts(Refused, WrongFamily)},
		{"IPv6-only socket, IPv6", slots{0: "inet6"}, false, false, true, "inet6", counts(Steered)},
		{"other protocol", slots{0: "other"}, false, false, false, refused, counts(Refused, WrongProtocol)},
		{"other protocol, fallback", slots{0: "other", 1: "dual"}, true, false, false, "dual",
			counts(Fallback, WrongProtocol)},
		{"connected", slots{0: "connected"}, false, false, false, refused, counts(Refused, WrongState)},
		{"connected, fallback connected", slots{0: "connected", 1: "connected"}, true, false, false, refused,
			counts(Refused, WrongState, WrongState)},
	} {
		for _, p := range both {
			t.Run(c.name+" "+p.String(), func(t *testing.T) {
				o := newOutcomeTest(t, p, c.fallback)
				for service, kind := range c.slots {
					o.fill(service, kind)
				}
				packets := uint64(0)
				for _, addr := range families {
					if addr.Is4() && c.only6 || !addr.Is4() && c.only4 {
						continue
					}
					packets++
					if who := o.servers.who(o.ns, p, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != c.met {
						t.Errorf("%s met %q, want %q", addr, who, c.met)
					}
				}
				o.wantCounts(c.want, packets)
			})
		}
	}
}

// counts adds up outcomes.
func counts(list ...Outcome) map[Outcome]uint64 {
	n := make(map[Outcome]uint64)
	for _, o := range list {
		n[o]++
	}
	return n
}

// outcomeTest is a world with one rule, which steers everything to service 0, with service 1 to fall back on.
type outcomeTest struct {
	*world
	s *Steering
	p rule.Protocol
}

func newOutcomeTest(t *testing.T, p rule.Protocol, fallback bool) *outcomeTest {
	o := &outcomeTest{world: newWorld(t), p: p}
	o.s = o.load()
	o.makeLocal(prefix4, prefix6)
	o.servers = newServers(t)
	set := steerAll()
	if fallback {
		set.Rules[0].Fallback = 1
	}
	publish(t, o.s, set)
	return o
}

// fill puts a socket of some kind into a service's slot. It bypasses Assign, which refuses the unfit ones.
func (o *outcomeTest) fill(service uint16, kind string) {
	o.t.Helper()
	set, err := openMaps(o.s.dir, bpf.SteerMapSockets)
	if err != nil {
		o.t.Fatal(err)
	}
	defer set.close()
	slot, err := slotOf(service, o.p)
	if err != nil {
		o.t.Fatal(err)
	}
	o.unfit(o.p, kind, func(fd int) {
		if err := set[bpf.SteerMapSockets].Put(slot, uint64(fd)); err != nil {
			o.t.Fatalf("put a socket that is %q into a slot: %v", kind, err)
		}
	})
}

// wantCounts checks the counters of the rule: each of want as often as there were packets, and all others zero.
func (o *outcomeTest) wantCounts(want map[Outcome]uint64, packets uint64) {
	o.t.Helper()
	list, err := o.s.Counters()
	if err != nil {
		o.t.Fatal(err)
	}
	c := list[firstID].Counters
	for outcome := range Outcomes {
		if got := c[outcome]; got != want[outcome]*packets {
			o.t.Errorf("%s counted %d times, want %d", outcome, got, want[outcome]*packets)
		}
	}
	if c.Packets() != packets {
		o.t.Errorf("%d packets counted, want %d", c.Packets(), packets)
	}
}
