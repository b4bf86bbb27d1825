package bench

import (
	"errors"
	"net/netip"

	"anyport/conf/rule"
	"anyport/steering"
)

// steerMode is one way to bring every address of a prefix to one socket.
type steerMode struct {
	name     string
	programs map[string]string // that it needs -> the Debian package that brings each
	// prepare sets the mode up in the server's namespace and opens the bed's sockets.
	prepare func(b *steerBed, flows []flow) error
	tracked bool // it is also measured with connection tracking, which costs all modes the same
	full    bool // and with a full table, which takes a second each time
	slow    bool // not part of a quick run
}

// The modes that others are compared with.
const (
	plainName  = "plain socket"
	lookupName = "sk_lookup"
)

var steerModes = []steerMode{
	{name: plainName, prepare: preparePlain, tracked: true},
	{name: lookupName, prepare: prepareLookup(1), tracked: true, full: true},
	{name: lookupName + ", 1,000 prefixes", prepare: prepareLookup(1000), slow: true},
	{name: lookupName + ", 100,000 prefixes", prepare: prepareLookup(destinations)},
	{name: "a socket for each of 4,096 addresses", prepare: prepareEach, tracked: true},
	{name: "nft TPROXY", programs: nftPrograms, prepare: prepareNft(1), tracked: true, full: true},
	{name: "nft TPROXY, set of 100,000", programs: nftPrograms, prepare: prepareNft(destinations), slow: true},
	{name: "iptables-nft TPROXY", programs: iptablesPrograms("nft"), prepare: prepareIptables("nft"), tracked: true, slow: true},
	{name: "iptables-legacy TPROXY", programs: iptablesPrograms("legacy"), prepare: prepareIptables("legacy"), tracked: true},
}

var nftPrograms = map[string]string{"nft": "nftables"}

// preparePlain is the limit: the served prefix is local and a socket is bound to the wildcard address. It gets one
// port only.
func preparePlain(b *steerBed, flows []flow) error {
	if err := b.server.AddLocalRoute(b.family.served); err != nil {
		return err
	}
	return b.server.Do(func() error { return b.openSockets(socketPlan{homes: b.wildcard()}, flows) })
}

func (b *steerBed) wildcard() []netip.AddrPort {
	unspecified := netip.IPv6Unspecified()
	if b.family.served.Addr().Is4() {
		unspecified = netip.IPv4Unspecified()
	}
	return []netip.AddrPort{netip.AddrPortFrom(unspecified, steerPort)}
}

// prepareEach binds a socket to each of the first addresses: what a program without steering does that must not be
// bound to the wildcard address.
func prepareEach(b *steerBed, flows []flow) error {
	if err := b.server.AddLocalRoute(b.family.served); err != nil {
		return err
	}
	homes := make([]netip.AddrPort, addresses)
	for i := range homes {
		homes[i] = netip.AddrPortFrom(b.family.destination(i), steerPort)
	}
	return b.server.Do(func() error { return b.openSockets(socketPlan{homes: homes}, flows) })
}

// lookupHome is where steered sockets live, as those of anyport do: one for both families.
var lookupHome = []netip.AddrPort{netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")}

// prepareLookup steers every port of n prefixes, which together hold all destinations.
func prepareLookup(n int) func(*steerBed, []flow) error {
	return func(b *steerBed, flows []flow) error {
		if err := b.server.AddLocalRoute(b.family.served); err != nil {
			return err
		}
		err := b.server.Do(func() error { return b.openSockets(socketPlan{homes: lookupHome}, flows) })
		if err != nil {
			return err
		}
		table, err := rule.Compile(rule.Set{
			Prefixes: []rule.Prefix{{Prefix: b.family.served}},
			Rules: []rule.Rule{{
				Name: "bench", Prefixes: b.family.parts(n), Verdict: rule.Steer, Fallback: rule.NoService,
			}},
		})
		if err != nil {
			return err
		}
		return b.steer(table)
	}
}

// steer loads the steering program into the server's namespace and gives it the bed's sockets.
func (b *steerBed) steer(table *rule.Table) error {
	s, err := steering.Load(steering.Options{Netns: b.server.Path()})
	if err != nil {
		return err
	}
	b.onClose(func() error { return errors.Join(s.Unload(), s.Close()) })
	if _, err := s.Publish(table); err != nil {
		return err
	}
	return errors.Join(assign(s, rule.UDP, b.receivers[0]), assign(s, rule.TCP, b.listeners[0]))
}

func assign(s *steering.Steering, p rule.Protocol, fd int) error {
	f, err := file(fd)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Assign(0, p, f)
}

// missing says which programs a mode lacks, or "".
func (m *steerMode) missing() string {
	for program, pkg := range m.programs {
		if why := missingProgram(program, pkg); why != "" {
			return why
		}
	}
	return ""
}
