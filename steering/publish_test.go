package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"anyport/conf/rule"
)

// namedRules is a set of rules for one port each, from 1000 on.
func namedRules(names ...string) rule.Set {
	set := rule.Set{Prefixes: served()}
	for i, name := range names {
		port := uint16(1000 + i)
		set.Rules = append(set.Rules, rule.Rule{Name: name, Ports: []rule.PortRange{{First: port, Last: port}},
			Verdict: rule.Refuse, Service: rule.NoService, Fallback: rule.NoService})
	}
	return set
}

// refusals returns how many packets each live rule has refused.
func refusals(t *testing.T, s *Steering) map[string]uint64 {
	t.Helper()
	list, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[string]uint64)
	for _, r := range list[firstID:] {
		n[r.Name] = r.Counters[Refused]
	}
	return n
}

func wantRefusals(t *testing.T, s *Steering, want map[string]uint64) {
	t.Helper()
	if got := refusals(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("refused: %v, want %v", got, want)
	}
}

// TestCountersFollowNames publishes sets whose rules come, go and come back, with another process' eyes in between.
func TestCountersFollowNames(t *testing.T) {
	w := newWorld(t)
	w.opts.MaxRules = 3
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	all := newServers(t)
	knock := func(port uint16) {
		t.Helper()
		if who := all.who(w.ns, rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast4, port)); who != refused {
			t.Fatalf("port %d reached %q", port, who)
		}
	}
	publish(t, s, namedRules("a", "b"))
	knock(1000)
	knock(1001)
	knock(1001)
	wantRefusals(t, s, map[string]uint64{"a": 1, "b": 2})
	publish(t, s, namedRules("b", "c")) // a waits, c takes the last free id
	knock(1001)
	wantRefusals(t, s, map[string]uint64{"b": 2, "c": 1})
	publish(t, s, namedRules("c", "b", "a")) // a comes back
	wantRefusals(t, s, map[string]uint64{"a": 1, "b": 2, "c": 1})
	publish(t, s, namedRules("a", "b"))
	publish(t, s, namedRules("a"))
	publish(t, s, namedRules("a", "d")) // d takes the place of c, which vanished before b did
	wantRefusals(t, s, map[string]uint64{"a": 1, "d": 0})
	knock(1001)
	again, err := Open(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	publish(t, again, namedRules("a", "b", "d"))
	wantRefusals(t, again, map[string]uint64{"a": 1, "b": 2, "d": 1})
}

// TestTooManyRules publishes more rules than there are counters: the old set stays in force.
func TestTooManyRules(t *testing.T) {
	w := newWorld(t)
	w.opts.MaxRules = 2
	s := w.load()
	publish(t, s, namedRules("a", "b"))
	_, err := s.Publish(compile(t, namedRules("a", "b", "c")))
	var many *TooManyRulesError
	if !errors.As(err, &many) || many.Rules != 3 || many.Max != 2 || Hint(err) == "" {
		t.Fatalf("Publish of 3 rules where 2 fit: %v", err)
	}
	wantGeneration(t, s, 1, 2)
}

// TestNoSuchService publishes rules for services that have no slots.
func TestNoSuchService(t *testing.T) {
	s := newWorld(t).load()
	for _, services := range [][2]uint16{{MaxServices, rule.NoService}, {0, MaxServices}} {
		set := steerAll()
		set.Rules[0].Service, set.Rules[0].Fallback = services[0], services[1]
		if _, err := s.Publish(compile(t, set)); err == nil {
			t.Errorf("Publish took services %v", services)
		}
	}
	wantGeneration(t, s, 0, 0)
}

// manyRules is a set of n rules: a prefix, a port range and a source each, of both families.
func manyRules(n int) rule.Set {
	set := rule.Set{Prefixes: served()}
	for i := range n {
		a4, a6 := prefix4.Addr().As4(), prefix6.Addr().As16()
		a4[2], a4[3] = a4[2]+byte(i>>8)&15, byte(i)
		a6[6], a6[7] = byte(i>>8), byte(i)
		first := uint16(1 + i%60000)
		set.Rules = append(set.Rules, rule.Rule{
			Name: fmt.Sprintf("rule-%d", i),
			Prefixes: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4(a4), 32), netip.PrefixFrom(netip.AddrFrom16(a6), 64),
			},
			Ports:    []rule.PortRange{{First: first, Last: first}},
			From:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
			Verdict:  rule.Steer,
			Fallback: rule.NoService,
		})
	}
	return set
}

// TestTenThousandRules publishes 10,000 rules and asks about some.
func TestTenThousandRules(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	table := compile(t, manyRules(10_000))
	started := time.Now()
	if _, err := s.Publish(table); err != nil {
		t.Fatal(err)
	}
	t.Logf("published %d nodes, %d intervals, %d actions in %s", len(table.Nodes), len(table.Intervals),
		len(table.Actions), time.Since(started))
	twin, err := s.Twin()
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	for i, r := range table.Set().Rules {
		if i%97 != 0 {
			continue
		}
		for j, p := range r.Prefixes {
			dst := netip.AddrPortFrom(p.Addr(), r.Ports[0].First)
			answer, err := twin.Ask(rule.UDP, r.From[j].Addr(), dst)
			if err != nil || answer.Rule.Name != r.Name || answer.Cause != Empty || answer.Verdict != rule.Refuse {
				t.Fatalf("%s: %+v, %v; want %s and an empty slot", dst, answer, err, r.Name)
			}
		}
	}
	rules, err := s.Rules()
	if err != nil || len(rules) != 10_000+int(firstID) {
		t.Errorf("%d rules listed, %v", len(rules), err)
	}
}

// BenchmarkPublish publishes sets of 10,000 rules.
func BenchmarkPublish(b *testing.B) {
	s := newWorld(b).load()
	table := compile(b, manyRules(10_000))
	for b.Loop() {
		if _, err := s.Publish(table); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJudge runs the live program by itself, on one address.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	s := w.load()
	publish(b, s, manyRules(10_000))
	assign(b, s, 0, rule.TCP, w.listen(home))
	for name, dst := range map[string]string{
		"v4/outside": "192.0.2.1:80", "v4/refused": "198.18.0.1:7", "v4/steered": "198.18.0.1:2",
		"v6/outside": "[fd00::1]:80", "v6/refused": "[2001:db8:0:ffff::]:7", "v6/steered": "[2001:db8:0:1::]:2",
	} {
		b.Run(name, func(b *testing.B) { benchmarkJudge(b, s, netip.MustParseAddrPort(dst)) })
	}
}

func benchmarkJudge(b *testing.B, s *Steering, dst netip.AddrPort) {
	src := netip.MustParseAddr("fd00::1")
	if dst.Addr().Is4() {
		src = netip.MustParseAddr("10.0.0.1")
	}
	in, err := newLookupContext(rule.TCP, src, dst)
	if err != nil {
		b.Fatal(err)
	}
	err = s.read(func(g *generation) error {
		_, err := g.program.Run(&ebpf.RunOptions{Context: in, Repeat: uint32(b.N)})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// halves are two sets with opposite answers for what is asked, and with tables that are shifted against one another: a
// mixture of both leads to the service "wrong" or to a refusal.
func halves() (a, b rule.Set) {
	build := func(service uint16, padding int) rule.Set {
		set := rule.Set{Prefixes: served()}
		for i := range padding {
			set.Rules = append(set.Rules, rule.Rule{
				Name: fmt.Sprintf("padding-%d", i),
				Prefixes: []netip.Prefix{
					netip.PrefixFrom(prefix4.Addr(), 32-i%8), netip.PrefixFrom(prefix6.Addr(), 128-i%8),
				},
				Ports:   []rule.PortRange{{First: uint16(5000 + i), Last: uint16(5000 + i)}},
				From:    []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16)},
				Verdict: rule.Steer, Service: 2, Fallback: rule.NoService,
			})
		}
		set.Rules = append(set.Rules,
			rule.Rule{Name: "asked", Ports: []rule.PortRange{{First: 4242, Last: 4242}}, From: []netip.Prefix{
				netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
			}, Verdict: rule.Steer, Service: service, Fallback: rule.NoService},
			rule.Rule{Name: "others", Verdict: rule.Steer, Service: 2, Fallback: rule.NoService},
		)
		return set
	}
	return build(0, 3), build(1, 50)
}

// TestPublishUnderLoad publishes the halves in turn, and upgrades the program, while clients connect and send: each of
// them must meet one half or the other, and none may be lost.
func TestPublishUnderLoad(t *testing.T) {
	const publications = 100
	w := newWorld(t)
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	all := newServers(t)
	w.servers = all
	for service, name := range []string{"a", "b", "wrong"} {
		w.serve(s, all, uint16(service), name)
	}
	setA, setB := halves()
	tables := []*rule.Table{compile(t, setA), compile(t, setB)}
	if _, err := s.Publish(tables[0]); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var clients sync.WaitGroup
	var met sync.Map // name -> *atomic.Uint64
	for _, addr := range families {
		for _, p := range both {
			clients.Add(1)
			go func() {
				defer clients.Done()
				askUntil(t, w, &stop, &met, p, netip.AddrPortFrom(addr, 4242))
			}()
		}
	}
	for n := range publications {
		var err error
		if n%5 == 4 {
			_, err = s.Upgrade()
		} else {
			_, err = s.Publish(tables[(n+1)%2])
		}
		if err != nil {
			t.Errorf("publication %d: %v", n, err)
		}
	}
	stop.Store(true)
	clients.Wait()
	for _, name := range []string{"a", "b"} {
		n := uint64(0)
		if v, ok := met.Load(name); ok {
			n = v.(*atomic.Uint64).Load()
		}
		t.Logf("%d packets met %s", n, name)
		if n < publications {
			t.Errorf("%d packets met %s: too few to tell", n, name)
		}
	}
}

// askUntil sends packets until told to stop, and counts whom they reach.
func askUntil(t *testing.T, w *world, stop *atomic.Bool, met *sync.Map, p rule.Protocol, dst netip.AddrPort) {
	err := w.ns.Do(func() error {
		for !stop.Load() {
			who, err := w.servers.reach(p, netip.Addr{}, dst)
			if err != nil || who != "a" && who != "b" {
				return fmt.Errorf("%s %s reached %q: %v", p, dst, who, err)
			}
			n, _ := met.LoadOrStore(who, new(atomic.Uint64))
			n.(*atomic.Uint64).Add(1)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
