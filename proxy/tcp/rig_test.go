package tcp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	balance "anyport/proxy/upstream"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rig is an engine that serves one address, with an access log. When its test ends, it is closed, nothing may be left
// of it, and its counters must agree with its log.
type rig struct {
	t         testing.TB
	engine    *Engine
	listener  *sock.Socket
	more      []*sock.Socket // other listeners
	addr      netip.AddrPort // for clients to dial
	registry  *stats.Registry
	live      *route.Live
	route     *route.Route
	accessLog *stats.AccessLog
	logPath   string
	ran       chan error
	fds       int // open before there was a rig
	running   bool
	ended     bool
}

// setup is what a test wants different from the usual.
type setup struct {
	route     route.Route // Stats and Upstreams are filled in
	upstreams []netip.AddrPort
	workers   int // 0: 2
	options   func(*Options)
	engine    func(*Engine) // called before Run
	waitRun   bool          // the test calls run itself
	noLog     bool
}

func newRig(t testing.TB, f family, s setup) *rig {
	t.Helper()
	r := &rig{t: t, fds: openFDs(t), logPath: filepath.Join(t.TempDir(), "log"), ran: make(chan error, 1)}
	t.Cleanup(r.checkDescriptors) // after every other cleanup
	r.listen(f)
	if s.workers == 0 {
		s.workers = 2
	}
	r.registry, r.live = stats.NewRegistry(s.workers), new(route.Live)
	r.route = &s.route
	r.route.Name, r.route.Stats = "test", r.registry.Route("test")
	r.claim(r.route, s.upstreams...)
	var err error
	if !s.noLog {
		if r.accessLog, err = stats.OpenAccessLog(r.logPath); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Listener: r.listener, Workers: s.workers, Routes: r.live, Stats: r.registry, AccessLog: r.accessLog}
	if s.options != nil {
		s.options(&o)
	}
	if r.engine, err = New(o); err != nil {
		t.Fatal(err)
	}
	if s.engine != nil {
		s.engine(r.engine)
	}
	t.Cleanup(r.end)
	if !s.waitRun {
		r.run()
	}
	return r
}

func (r *rig) listen(f family) {
	l, err := sock.ListenTCP(netip.AddrPortFrom(f.served, 0))
	if err != nil {
		r.t.Fatal(err)
	}
	a, errno := sock.LocalAddress(l.FD())
	if errno != 0 {
		r.t.Fatal(errno)
	}
	r.listener, r.addr = l, a.AddrPort()
}

func (r *rig) run() {
	r.running = true
	go r.runEngine()
}

func (r *rig) runEngine() { r.ran <- r.engine.Run() }

// claim puts a table in force that sends the rig's address to rt, and rt to upstreams.
func (r *rig) claim(rt *route.Route, upstreams ...netip.AddrPort) {
	r.t.Helper()
	var specs []conf.Upstream
	for _, u := range upstreams {
		specs = append(specs, conf.Upstream{Addr: u.Addr(), Port: u.Port()})
	}
	rt.Upstreams = balance.NewGroup(specs, conf.RoundRobin)
	r.serve(netip.PrefixFrom(r.addr.Addr(), r.addr.Addr().BitLen()), rt)
}

// redirect has new connections go to other upstreams. Those that there are keep the route that they have.
func (r *rig) redirect(upstreams ...netip.AddrPort) {
	r.t.Helper()
	fresh := *r.route
	r.route = &fresh
	r.claim(r.route, upstreams...)
}

// serve puts a table in force that claims one prefix.
func (r *rig) serve(p netip.Prefix, rt *route.Route) {
	r.t.Helper()
	rules, err := rule.Compile(rule.Set{
		Prefixes: []rule.Prefix{{Prefix: p}},
		Rules:    []rule.Rule{{Name: rt.Name, Protocol: rule.TCP, Verdict: rule.Steer, Fallback: rule.NoService}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.live.Swap(route.NewTable(rules, []*route.Route{rt}))
}

// totals returns the route's counters.
func (r *rig) totals() stats.Totals { return stats.Sum(r.route.Stats.TCP) }

// awaitEnded waits until n connections of the route have ended for a reason.
func (r *rig) awaitEnded(why stats.Reason, n uint64) {
	r.t.Helper()
	netlab.Eventually(r.t, why.String()+" is counted", func() bool { return r.totals().Ended[why.String()] == n })
}

// record is a line of the access log.
type record struct {
	Route       string
	Client      netip.AddrPort
	Destination netip.AddrPort
	Upstream    *netip.AddrPort
	BytesIn     uint64  `json:"bytes_in"`
	BytesOut    uint64  `json:"bytes_out"`
	Connect     float64 `json:"connect_seconds"`
	Duration    float64 `json:"duration_seconds"`
	ClientRTT   float64 `json:"client_rtt_seconds"`   // 0 if it is null
	UpstreamRTT float64 `json:"upstream_rtt_seconds"` // 0 if it is null
	Reason      string
	Error       string
}

// records closes the rig and returns what the access log says.
func (r *rig) records() []record {
	r.t.Helper()
	r.end()
	f, err := os.Open(r.logPath)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	var all []record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var rec record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			r.t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		all = append(all, rec)
	}
	return all
}

// end closes the rig and checks what it leaves.
func (r *rig) end() {
	if r.ended {
		return
	}
	r.t.Helper()
	r.ended = true
	if err := r.engine.Close(); err != nil {
		r.t.Error(err)
	}
	if r.running {
		if err := <-r.ran; err != nil {
			r.t.Error(err)
		}
	}
	for _, l := range append(r.more, r.listener) {
		l.Close()
	}
	r.accessLog.Close()
	r.checkEngine()
	if r.accessLog != nil {
		r.compareLog()
	}
}

// checkEngine looks for connections in a closed engine.
func (r *rig) checkEngine() {
	r.t.Helper()
	if n := r.engine.Active(); n != 0 {
		r.t.Errorf("%d connections are active in a closed engine", n)
	}
	for _, e := range r.route.Upstreams.Endpoints() {
		if n := e.Member().Active(); n != 0 {
			r.t.Errorf("%d claims are held on %s", n, e)
		}
	}
	for _, w := range r.engine.workers {
		if n := w.load.Load(); n != 0 || w.slab.used != 0 || w.timers.count != 0 {
			r.t.Errorf("worker %d has a load of %d, %d slots in use, %d timers", w.id, n, w.slab.used, w.timers.count)
		}
		for i := range w.routes.refs {
			if n := w.routes.refs[i].held; n != 0 {
				r.t.Errorf("worker %d: route %d is held %d times", w.id, i, n)
			}
		}
	}
}

// checkDescriptors fails the test if more descriptors are open than before there was a rig, once upstreams have closed
// theirs.
func (r *rig) checkDescriptors() {
	r.t.Helper()
	netlab.Eventually(r.t, fmt.Sprintf("%d descriptors to be open, as before", r.fds), func() bool { return openFDs(r.t) == r.fds })
}

// compareLog checks that the counters are the sums of the log.
func (r *rig) compareLog() {
	r.t.Helper()
	if lost := r.accessLog.Lost(); lost != 0 {
		r.t.Fatalf("the access log lost %d records", lost)
	}
	ended := make(map[string]map[string]uint64)
	in, out := make(map[string]uint64), make(map[string]uint64)
	for _, rec := range r.records() {
		if rec.Reason == "open" {
			continue // a line of the same connection follows
		}
		if ended[rec.Route] == nil {
			ended[rec.Route] = make(map[string]uint64)
		}
		ended[rec.Route][rec.Reason]++
		in[rec.Route] += rec.BytesIn
		out[rec.Route] += rec.BytesOut
	}
	for _, counted := range []*stats.Route{r.route.Stats, r.registry.Unrouted} {
		sum := stats.Sum(counted.TCP)
		var opened uint64
		for why, n := range sum.Ended {
			opened += n
			if ended[counted.Name][why] != n {
				r.t.Errorf("route %q counted %d %s, the log has %d", counted.Name, n, why, ended[counted.Name][why])
			}
		}
		if sum.Opened != opened || sum.BytesIn != in[counted.Name] || sum.BytesOut != out[counted.Name] {
			r.t.Errorf("route %q counted %+v, the log has %d bytes in, %d out", counted.Name, sum,
				in[counted.Name], out[counted.Name])
		}
	}
}

// openFDs returns how many descriptors this process has open.
func openFDs(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
