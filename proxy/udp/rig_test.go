package udp

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/offload"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// natPorts is small enough to be searched and large enough for the tests with many flows.
var natPorts = rule.PortRange{First: 10000, Last: 29999}

// rig is a Trio with an engine in its proxy namespace.
type rig struct {
	*netlab.Trio
	engine           *Engine
	clients, replies *sock.Socket
	registry         *stats.Registry
	live             route.Live
}

// spec is a route of a rig; zero fields take the defaults of newRig.
type spec struct {
	prefix   netip.Prefix
	upstream conf.Upstream
	idle     time.Duration
	proxy    conf.ProxyProtocol
	longest  int // max_datagram
}

// newRig makes a lab with an engine that does not run yet. Its routes are named "0", "1" and so on.
func newRig(t testing.TB, maxFlows int, specs ...spec) *rig {
	t.Helper()
	return newRigBy(t, ways[0], maxFlows, specs...)
}

// transmitWay is how trains leave: by a program, or cut.
type transmitWay struct {
	name  string
	opens bool
	way   offload.Way
}

var ways = []transmitWay{{"tcx", true, offload.TCX}, {"clsact", true, offload.Clsact}, {name: "raw"}}

// newRigBy is newRig with a way for trains.
func newRigBy(t testing.TB, way transmitWay, maxFlows int, specs ...spec) *rig {
	t.Helper()
	r := &rig{Trio: netlab.NewTrio(t), registry: stats.NewRegistry(1)}
	for _, p := range []netip.Prefix{netlab.Prefix4, netlab.Prefix6} {
		must(t, r.Proxy.AddLocalRoute(p))
	}
	must(t, r.Proxy.Do(func() (err error) {
		if r.clients, err = sock.ListenUDP(netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")); err != nil {
			return err
		}
		t.Cleanup(func() { r.clients.Close() })
		if r.replies, err = sock.ListenUDP(netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")); err != nil {
			return err
		}
		t.Cleanup(func() { r.replies.Close() })
		var transmit *offload.Transmit
		if way.opens {
			if transmit, err = offload.OpenTransmit(way.way, 1); err != nil {
				return err
			}
			t.Cleanup(func() { must(t, r.Proxy.Do(transmit.Close)) })
		}
		r.engine, err = New(Options{Clients: r.clients, Replies: r.replies, Transmit: transmit, Routes: &r.live, Stats: r.registry,
			MaxFlows: maxFlows, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		return err
	}))
	t.Cleanup(func() { must(t, r.engine.Close()) })
	steer(t, r.Proxy, natPorts, r.clients, r.replies)
	r.route(t, specs...)
	return r
}

// route puts routes in force and adds the sources they need.
func (r *rig) route(t testing.TB, specs ...spec) {
	t.Helper()
	set := rule.Set{Prefixes: []rule.Prefix{{Prefix: netlab.Prefix4}, {Prefix: netlab.Prefix6}}}
	var routes []*route.Route
	must(t, r.Proxy.Do(func() error {
		for i, s := range specs {
			name := string(rune('0' + i))
			match := rule.Rule{Name: name, Protocol: rule.UDP, Verdict: rule.Steer, Fallback: rule.NoService}
			if s.prefix.IsValid() {
				match.Prefixes = []netip.Prefix{s.prefix}
			}
			set.Rules = append(set.Rules, match)
			routes = append(routes, &route.Route{Name: name, Stats: r.registry.Route(name), UDPIdle: s.idle,
				ProxyProtocol: s.proxy, MaxDatagram: s.longest, Upstreams: upstream.NewGroup([]conf.Upstream{s.upstream}, conf.RoundRobin)})
		}
		return nil
	}))
	compiled, err := rule.Compile(set)
	must(t, err)
	r.live.Swap(route.NewTable(compiled, routes))
}

// sources adds NAT ports on addresses.
func (r *rig) sources(t testing.TB, addrs ...netip.Addr) {
	t.Helper()
	must(t, r.Proxy.Do(func() error {
		var err error
		for _, a := range addrs {
			_, e := r.engine.AddSource(conf.UDPSource{Addr: a, Ports: natPorts})
			err = errors.Join(err, e)
		}
		return err
	}))
}

// run adds the sources that lead out of the proxy namespace and runs the engine until the test ends.
func (r *rig) run(t testing.TB) {
	t.Helper()
	r.sources(t, netlab.ProxyUpstream4, netlab.ProxyUpstream6, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
	r.start(t)
}

// start runs the engine until the test ends.
func (r *rig) start(t testing.TB) {
	t.Helper()
	done := make(chan error)
	go runEngine(r.engine, done)
	t.Cleanup(func() {
		must(t, r.engine.Close())
		must(t, <-done)
	})
}

func runEngine(e *Engine, done chan<- error) { done <- e.Run() }

func (r *rig) ended(name string, why stats.Reason) uint64 {
	return r.registry.Route(name).UDP[0].Ended[why].Load()
}

func (r *rig) dropped(why stats.Drop) uint64 { return r.registry.SumDrops()[why] }

// to is an upstream at a fixed address and port.
func to(s string) conf.Upstream {
	ap := netip.MustParseAddrPort(s)
	return conf.Upstream{Addr: ap.Addr(), Port: ap.Port()}
}

var echoUpstream = spec{upstream: to("10.2.0.2:7777")}
