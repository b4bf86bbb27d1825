package udp

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// next makes the engine of the next process, with the sockets of the one before, and the routes and sources that it had.
func (r *rig) next(t *testing.T) *rig {
	t.Helper()
	n := &rig{Trio: r.Trio, clients: r.clients, replies: r.replies, registry: stats.NewRegistry(1)}
	must(t, n.Proxy.Do(func() (err error) {
		n.engine, err = New(Options{Clients: n.clients, Replies: n.replies, Routes: &n.live, Stats: n.registry,
			MaxFlows: 1000, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		return err
	}))
	t.Cleanup(func() { must(t, n.engine.Close()) })
	n.sources(t, netlab.ProxyUpstream4, netlab.ProxyUpstream6)
	return n
}

// routesNamed returns routes by name as the table in force has them.
func (r *rig) routesNamed(t *testing.T, dst ...string) map[string]*route.Route {
	t.Helper()
	all := make(map[string]*route.Route)
	for _, d := range dst {
		ap := netip.MustParseAddrPort(d)
		found := r.live.Lookup(rule.UDP, ap.Addr(), ap)
		all[found.Name] = found
	}
	return all
}

// TestHandOver has clients of both families talk all the time while a second engine takes over: every question gets its
// answer, from the same NAT port, those included whose answer is on its way at that time.
func TestHandOver(t *testing.T) {
	const flows = 100
	r := newRig(t, 1000, spec{upstream: to("10.2.0.2:7777"), idle: time.Hour})
	r.run(t)
	server := listen(t, r.Upstream, "[::]:7777")
	var clients []*net.UDPConn
	for i := range flows {
		clients = append(clients, dial(t, r.Client, icmpDsts[i%2]))
	}
	ask := func(what string) {
		for i, c := range clients {
			_, err := c.Write(fmt.Appendf(nil, "%s %d", what, i))
			must(t, err)
		}
	}
	nats := make(map[string]string) // by question
	answer := func() {
		for range clients {
			q, nat := receive(t, server)
			nats[string(q)] = nat.String()
			_, err := server.WriteToUDPAddrPort(q, nat)
			must(t, err)
		}
	}
	expect := func(what string) {
		for i, c := range clients {
			if got, _ := receive(t, c); string(got) != fmt.Sprintf("%s %d", what, i) {
				t.Fatalf("client %d got %q", i, got)
			}
		}
	}
	ask("before")
	answer()
	expect("before")
	ask("across")
	netlab.Eventually(t, "the questions to pass", func() bool {
		return r.registry.Route("0").UDP[0].PacketsIn.Load() == 2*flows
	})
	var file bytes.Buffer
	must(t, Export([]*Engine{r.engine}, &file))
	answer()    // while there is no engine
	ask("then") // the same
	n := r.next(t)
	n.route(t, spec{upstream: to("10.2.0.2:7777"), idle: time.Hour})
	kept, ended, err := Import([]*Engine{n.engine}, &file, n.routesNamed(t, icmpDsts...))
	if err != nil || kept != flows || ended != 0 {
		t.Fatalf("%d flows taken over, %d ended: %v", kept, ended, err)
	}
	n.start(t)
	expect("across")
	answer()
	expect("then")
	for i := range clients {
		before, then := nats[fmt.Sprintf("before %d", i)], nats[fmt.Sprintf("then %d", i)]
		if before != then {
			t.Errorf("client %d came from %s, and then from %s", i, before, then)
		}
	}
	if got := r.ended("0", stats.HandedOver); got != flows || r.engine.Active() != 0 || n.engine.Active() != flows {
		t.Errorf("%d flows handed over, %d and %d are open", got, r.engine.Active(), n.engine.Active())
	}
}

// TestExportEmptiesSockets leaves questions to an engine that does not run: they are forwarded before their flows are
// handed over.
func TestExportEmptiesSockets(t *testing.T) {
	const flows = 3 * batchSize
	r := newRig(t, 1000, spec{upstream: to("10.2.0.2:7777"), idle: time.Hour})
	r.sources(t, netlab.ProxyUpstream4)
	server := listen(t, r.Upstream, "[::]:7777")
	meetProxy(t, r)
	for i := range flows {
		send(t, r, icmpDsts[i%2])
	}
	var file bytes.Buffer
	must(t, Export([]*Engine{r.engine}, &file))
	for range flows {
		receive(t, server)
	}
	if got := r.ended("0", stats.HandedOver); got != flows {
		t.Errorf("%d flows were handed over, want %d", got, flows)
	}
}

// meetProxy has the client's kernel learn the proxy's hardware address for both families. Otherwise datagrams wait for it
// there, and the one that sends them does not know.
func meetProxy(t *testing.T, r *rig) {
	t.Helper()
	for _, proxy := range []netip.Addr{netlab.ProxyClient4, netlab.ProxyClient6} {
		c := dial(t, r.Client, netip.AddrPortFrom(proxy, 9).String())
		netlab.Eventually(t, "the proxy to refuse a datagram", func() bool {
			must(t, c.SetReadDeadline(time.Now().Add(time.Second)))
			_, sent := c.Write([]byte("?"))
			_, err := c.Read(make([]byte, 1))
			return errors.Is(errors.Join(sent, err), unix.ECONNREFUSED)
		})
	}
}

// TestHandOverRefused imports flows whose route has gone, whose upstream has, and whose NAT port is not ours any more.
func TestHandOverRefused(t *testing.T) {
	specs := []spec{{prefix: netlab.Prefix4, upstream: to("10.2.0.2:7777")}, {prefix: netlab.Prefix6, upstream: to("[fd00:2::2]:7777")}}
	for _, c := range []struct {
		what    string
		sources bool
		specs   []spec
		current []string
		why     stats.Reason
	}{
		{"route", true, specs[:1], nil, stats.RouteRemoved},
		{"upstream", true, []spec{{upstream: to("10.2.0.2:7778")}}, icmpDsts[:1], stats.NoUpstream},
		{"source", false, specs[:1], icmpDsts[:1], stats.NoSource},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newRig(t, 1000, specs...)
			r.run(t)
			echo(t, listen(t, r.Upstream, "[::]:7777"))
			exchange(t, dial(t, r.Client, icmpDsts[0]), []byte("hello"))
			var file bytes.Buffer
			must(t, Export([]*Engine{r.engine}, &file))
			n := r.next(t)
			if !c.sources {
				n.engine.w.flows = newFlowTable(1000)
			}
			n.route(t, c.specs...)
			lines := n.log(t)
			kept, ended, err := Import([]*Engine{n.engine}, &file, n.routesNamed(t, c.current...))
			if kept != 0 || ended != 1 || err != nil || n.ended("0", c.why) != 1 {
				t.Errorf("%d taken over, %d ended: %v; %v", kept, ended, err, stats.Sum(n.registry.Route("0").UDP))
			}
			if got := lines(); len(got) != 1 || got[0].Reason != c.why.String() || got[0].PacketsIn != 1 || got[0].BytesOut != 5 {
				t.Errorf("access log: %+v", got)
			}
		})
	}
}

// TestQuarantineOutlivesEngine exports a port that rests, and wants it to rest on for as long as it had left.
func TestQuarantineOutlivesEngine(t *testing.T) {
	w, routes := tableWorker(10, natPorts, time.Hour)
	w.started = time.Now().Add(-time.Minute)
	w.now = tickOf(time.Minute)
	id := w.openAt(clientKey(1, 1), routes[0])
	nat := sock.Addr{IP: natAddr.IP, Port: w.flows.blocks[0].port(id)}
	w.endFlow(id, stats.IdleTimeout)
	var all savedTable
	w.save(&all)
	file := all.encode()

	next, _ := tableWorker(10, natPorts)
	next.started = time.Now()
	e := &Engine{w: next}
	if _, _, err := Import([]*Engine{e}, bytes.NewReader(file), nil); err != nil {
		t.Fatal(err)
	}
	place := next.flows.place(&nat)
	free := len(next.flows.blocks[0].free)
	next.flows.endQuarantines(next.now + quarantineTicks - 2)
	if next.flows.flows[place].state != resting || free != int(natPorts.Last-natPorts.First) {
		t.Errorf("the port is in state %d, %d are free", next.flows.flows[place].state, free)
	}
	next.flows.endQuarantines(next.now + quarantineTicks)
	if next.flows.flows[place].state != unused || len(next.flows.blocks[0].free) != free+1 {
		t.Error("the port does not come back")
	}
}

// TestFlowFile writes and reads a table, and has every way to damage the file found out.
func TestFlowFile(t *testing.T) {
	key := clientKey(1, 2)
	want := &savedTable{
		flows: []savedFlow{{key: key, nat: natAddr, upstream: key.client, route: "games", state: established, introduced: true,
			age: time.Hour, idle: time.Second, totals: flowTotals{1, 2, 3, 1 << 40}}, {key: key, state: fresh}},
		ports: []savedPort{{natAddr, time.Second}},
	}
	file := want.encode()
	got, err := decodeFlows(bytes.NewReader(file))
	must(t, err)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(savedTable{}, savedFlow{}, savedPort{}, flowKey{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i := range file {
		if _, err := decodeFlows(bytes.NewReader(file[:i])); !errors.Is(err, ErrFlowsDamaged) && !errors.Is(err, ErrFlowsVersion) {
			t.Fatalf("%d bytes of %d: %v", i, len(file), err)
		}
		bad := bytes.Clone(file)
		bad[i] ^= 1
		_, err := decodeFlows(bytes.NewReader(bad))
		isVersion := i >= len(flowsMark) && i < len(flowsMark)+4
		if isVersion && !errors.Is(err, ErrFlowsVersion) || !isVersion && !errors.Is(err, ErrFlowsDamaged) {
			t.Fatalf("byte %d is another: %v", i, err)
		}
	}
}
