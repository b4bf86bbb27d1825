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
	large   bool // its table has many prefixes
}

// The modes that others are compared with.
const (
	plainName  = "plain socket"
	lookupName = "sk_lookup"
)

var steerModes = []steerMode{
	{name: plainName, prepare: preparePlain},
	{name: lookupName, prepare: prepareLookup(1)},
	{name: lookupName + ", 1,000 prefixes", prepare: prepareLookup(1000), large: true},
	{name: lookupName + ", 100,000 prefixes", prepare: prepareLookup(destinations), large: true},
	{name: "nft TPROXY", programs: nftPrograms, prepare: prepareNft(1)},
	{name: "nft TPROXY, set of 100,000", programs: nftPrograms, prepare: prepareNft(destinations), large: true},
	{name: "iptables-nft TPROXY", programs: iptablesPrograms("nft"), prepare: prepareIptables("nft")},
	{name: "iptables-legacy TPROXY", programs: iptablesPrograms("legacy"), prepare: prepareIptables("legacy")},
}

var nftPrograms = map[string]string{"nft": "nftables"}

// preparePlain is the limit: the served prefix is local and a socket is bound to the wildcard address. It gets one
// port only.
func preparePlain(b *steerBed, flows []flow) error {
	if err := b.server.AddLocalRoute(b.family.served); err != nil {
		return err
	}
	return b.server.Do(func() error { return b.openSockets(socketPlan{home: b.wildcard()}, flows) })
}

func (b *steerBed) wildcard() netip.AddrPort {
	if b.family.served.Addr().Is4() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), steerPort)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), steerPort)
}

// lookupHome is where steered sockets live, as those of anyport do: one for both families.
var lookupHome = netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")

// prepareLookup steers every port of n prefixes, which together hold all destinations.
func prepareLookup(n int) func(*steerBed, []flow) error {
	return func(b *steerBed, flows []flow) error {
		if err := b.server.AddLocalRoute(b.family.served); err != nil {
			return err
		}
		err := b.server.Do(func() error { return b.openSockets(socketPlan{home: lookupHome}, flows) })
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
	return errors.Join(assign(s, rule.UDP, b.receiver), assign(s, rule.TCP, b.listener))
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
