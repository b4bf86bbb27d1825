package upstream

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"anyport/conf"
)

// lab is a network in which upstreams are well or ill as a test says.
type lab struct {
	mu      sync.Mutex // guards the fields below
	ill     map[netip.AddrPort]bool
	takes   time.Duration // that a check takes
	made    map[netip.AddrPort][]time.Time
	running int
	most    int // that ran at once
}

var errIll = errors.New("it is ill")

func newLab() *lab {
	return &lab{ill: make(map[netip.AddrPort]bool), made: make(map[netip.AddrPort][]time.Time)}
}

// probe is a probeFunc.
func (l *lab) probe(ctx context.Context, key checkKey) error {
	l.mu.Lock()
	l.made[key.target] = append(l.made[key.target], time.Now())
	l.running++
	l.most = max(l.most, l.running)
	takes := l.takes
	l.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.ill[key.target] {
		return errIll
	}
	return nil
}

func (l *lab) set(ill bool, target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ill[netip.MustParseAddrPort(target)] = ill
}

func (l *lab) count(target string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.made[netip.MustParseAddrPort(target)])
}

var checked = conf.Route{HealthCheck: conf.HealthCheck{Type: conf.TCPCheck, Interval: 10 * time.Second,
	Timeout: 2 * time.Second, Rise: 2, Fall: 3}}

// newCheckedCrew returns a crew whose members are checked in l until the test ends.
func newCheckedCrew(t *testing.T, l *lab, n int) *crew {
	c := newCrew(t, n, checked)
	c.pool.checker.probe = l.probe
	go c.pool.Run(t.Context())
	return c
}

func TestRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.set(true, "127.0.1.2:80")
		c := newCheckedCrew(t, l, 2)
		c.shares("before the first check", 256, 256)
		after(firstCheckWithin)
		c.shares("after the first check, which counts at once", 256, 0)
		l.set(false, "127.0.1.2:80")
		l.set(true, "127.0.1.1:80")
		waitChecks(l, "127.0.1.1:80", 3)
		waitChecks(l, "127.0.1.2:80", 3)
		c.shares("after two checks that say something else", 256, 256)
		waitChecks(l, "127.0.1.1:80", 4)
		c.shares("after three that fail", 0, 256)
		if i := c.Info()[0]; i.State != Down || i.Reason != "health check: it is ill" {
			t.Errorf("the endpoint is %+v", i)
		}
		l.set(false, "127.0.1.1:80")
		waitChecks(l, "127.0.1.1:80", 5)
		c.shares("after one that succeeds", 0, 256)
		waitChecks(l, "127.0.1.1:80", 6)
		c.shares("after two", 256, 256)
		for _, want := range []string{`level=WARN msg="upstream down" route=web upstream=127.0.1.1:80 reason="health check: it is ill"`,
			`level=INFO msg="upstream up" route=web upstream=127.0.1.1:80`} {
			if !strings.Contains(c.log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, &c.log)
			}
		}
	})
}

// waitChecks lets time pass until a target has been checked n times.
func waitChecks(l *lab, target string, n int) {
	for l.count(target) < n {
		after(100 * time.Millisecond)
	}
}

// Checks that take too long fail; they come at their interval, give or take a tenth; and a check in flight at the end
// is waited for.
func TestCheckTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.takes = 3 * time.Second
		c := newCheckedCrew(t, l, 1)
		after(firstCheckWithin + 2*time.Second)
		c.shares("after a check that got no answer", 0)
		waitChecks(l, "127.0.1.1:80", 50)
		times := l.made[netip.MustParseAddrPort("127.0.1.1:80")]
		var gaps []time.Duration
		for i := range times[1:] {
			gaps = append(gaps, times[i+1].Sub(times[i])-2*time.Second)
		}
		if least, most := slices.Min(gaps), slices.Max(gaps); least < 9*time.Second || most > 11*time.Second ||
			most-least < time.Second {
			t.Errorf("checks come %v to %v after one another, want 9s to 11s, spread", least, most)
		}
	})
}

// Thousands of upstreams that say nothing are checked, no more than checksAtOnce at a time.
func TestChecksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.takes = time.Hour
		pool := NewPool(nil)
		pool.checker.probe = l.probe
		var groups []*Group
		const routes = 20
		for i := range routes {
			r := checked
			r.Name = string(rune('a' + i))
			for j := range 100 {
				r.Upstreams = append(r.Upstreams, conf.Upstream{Addr: netip.AddrFrom4([4]byte{127, 1, byte(i), byte(j)}), Port: 80})
			}
			g := pool.Group(&r)
			g.Use(g.resolve(nil, routedSources{}))
			groups = append(groups, g)
		}
		pool.Settle(groups, nil)
		go pool.Run(t.Context())
		after(time.Minute)
		if l.most != checksAtOnce {
			t.Errorf("%d checks ran at once, want %d", l.most, checksAtOnce)
		}
		if len(l.made) != routes*100 {
			t.Errorf("%d upstreams have been checked, want all %d", len(l.made), routes*100)
		}
	})
}

// Two routes that check an address alike share the check, one that checks it otherwise does not; results outlive a
// reload; and what nobody checks any more is up.
func TestSharedChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab()
		l.set(true, "127.0.1.1:80")
		pool := NewPool(nil)
		pool.checker.probe = l.probe
		group := func(name string, change func(*conf.Route)) *Group {
			r := checked
			r.Name, r.Upstreams = name, []conf.Upstream{{Addr: netip.MustParseAddr("127.0.1.1"), Port: 80}}
			change(&r)
			g := pool.Group(&r)
			g.Use(g.resolve(nil, make(routedSources)))
			return g
		}
		share := func(g *Group) uint32 { return g.Endpoints()[0].member.share.Load() }
		a := group("a", func(*conf.Route) {})
		b := group("b", func(r *conf.Route) { r.Upstreams[0].Port, r.HealthCheck.Port = 0, 80 })
		other := group("other", func(r *conf.Route) { r.HealthCheck.Send = "?" })
		pool.Settle([]*Group{a, b, other}, nil)
		go pool.Run(t.Context())
		after(firstCheckWithin)
		if n := len(pool.checker.checks); n != 2 || l.count("127.0.1.1:80") != 2 {
			t.Errorf("%d checks, made %d times, for three routes of two kinds", n, l.count("127.0.1.1:80"))
		}
		if share(a) != 0 || share(b) != 0 || share(other) != 0 {
			t.Errorf("shares %d, %d, %d of an upstream that is ill", share(a), share(b), share(other))
		}
		late := group("late", func(*conf.Route) {})
		unchecked := group("a", func(r *conf.Route) { r.HealthCheck = conf.HealthCheck{} })
		pool.Settle([]*Group{unchecked, b, late}, nil)
		if share(late) != 0 || share(unchecked) != fullShare || len(pool.checker.checks) != 1 {
			t.Errorf("shares %d of a new route with a known check, %d without any check, %d checks", share(late),
				share(unchecked), len(pool.checker.checks))
		}
		pool.Settle(nil, nil)
		if len(pool.checker.checks) != 0 || len(pool.checker.queue) != 0 {
			t.Errorf("%d checks are left, %d in the queue", len(pool.checker.checks), len(pool.checker.queue))
		}
	})
}
