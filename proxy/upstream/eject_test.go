package upstream

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"anyport/conf"
	"anyport/conf/rule"
)

// crew is a route's group whose members are told of failures by the test.
type crew struct {
	*Group
	t   *testing.T
	log bytes.Buffer
}

func newCrew(t *testing.T, n int, r conf.Route) *crew {
	c := &crew{t: t}
	r.Name, r.Upstreams = "web", literals(n)
	for i := range r.Upstreams {
		r.Upstreams[i].Port = 80
	}
	pool := NewPool(slog.New(slog.NewTextHandler(&c.log, nil)))
	c.Group = pool.Group(&r)
	c.Use(c.resolve(nil, make(routedSources)))
	pool.Settle([]*Group{c.Group}, nil)
	return c
}

func (c *crew) member(place int) *Member { return c.Endpoints()[place].member }

// fail makes n connects to a member fail.
func (c *crew) fail(place, n int) {
	for range n {
		c.member(place).Failed(unix.ECONNREFUSED)
	}
}

// shares checks what each member gets, in 256ths.
func (c *crew) shares(when string, want ...uint32) {
	c.t.Helper()
	for i, w := range want {
		if got := c.member(i).share.Load(); got != w {
			c.t.Errorf("%s: member %d has a share of %d, want %d", when, i, got, w)
		}
	}
}

// after lets time pass, and what is due by then happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var ejecting = conf.Route{MaxFails: 3, FailTimeout: 10 * time.Second}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2, ejecting)
		c.fail(0, 2)
		c.member(0).Connected()
		c.fail(0, 2)
		c.shares("no three in a row", 256, 256)
		c.fail(0, 1)
		c.shares("three in a row", 0, 256)
		after(10*time.Second - 1)
		c.shares("just before the end of the first pause", 0, 256)
		after(1)
		c.shares("after it", 256, 256)
		for _, pause := range []time.Duration{20, 40, 80, 160, 300, 300} {
			c.fail(0, 1)
			after(pause*time.Second - 1)
			c.shares("just before the end of a longer pause", 0, 256)
			after(1)
			c.shares("after it", 256, 256)
		}
		c.member(0).Connected()
		c.fail(0, 2)
		c.shares("two in a row after a success", 256, 256)
		c.fail(0, 1)
		after(10 * time.Second)
		c.shares("after the first pause of another row", 256, 256)
		for _, want := range []string{`level=WARN msg="upstream ejected" route=web upstream=127.0.1.1:80 for=10s ` +
			`reason="3 connects in a row failed, the last one: connection refused"`,
			`level=INFO msg="upstream readmitted" route=web upstream=127.0.1.1:80`} {
			if !strings.Contains(c.log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, &c.log)
			}
		}
	})
}

// Half of the members stay in, whatever fails; a single one is never ejected.
func TestEjectionBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 3, 5, 8} {
			c := newCrew(t, n, ejecting)
			for place := range n {
				c.fail(place, 20)
			}
			in := 0
			for place := range n {
				if c.member(place).share.Load() > 0 {
					in++
				}
			}
			if in != n-n/2 {
				t.Errorf("%d of %d members are in, want %d", in, n, n-n/2)
			}
		}
	})
}

// What a client who scans ports can bring about ejects nothing; that the host is unreachable does.
func TestWhoIsToBlame(t *testing.T) {
	all, one := []rule.PortRange{{First: 1, Last: 65535}}, []rule.PortRange{{First: 22, Last: 22}}
	for _, c := range []struct {
		port, offset uint16
		ports        []rule.PortRange
		errno        unix.Errno
		want         bool
	}{
		{80, 0, all, unix.ECONNREFUSED, true}, {80, 0, all, unix.ETIMEDOUT, true}, {80, 0, all, unix.EHOSTUNREACH, true},
		{0, 0, all, unix.ECONNREFUSED, false}, {0, 7, nil, unix.ETIMEDOUT, false}, {0, 0, all, unix.ENETUNREACH, true},
		{0, 0, one, unix.ECONNREFUSED, true}, {0, 7, one, unix.ETIMEDOUT, true},
		{80, 0, all, unix.EMFILE, false}, {80, 0, all, unix.EADDRNOTAVAIL, false}, {80, 0, one, unix.ENOBUFS, false},
	} {
		up := conf.Upstream{Addr: netip.IPv6Loopback(), Port: c.port, Offset: c.offset}
		g := NewPool(nil).Group(&conf.Route{Ports: c.ports, Upstreams: []conf.Upstream{up}})
		g.Use(g.resolve(nil, make(routedSources)))
		if got := g.Endpoints()[0].member.isToBlame(c.errno); got != c.want {
			t.Errorf("%v at %s for ports %v: to blame %v, want %v", c.errno, up, c.ports, got, c.want)
		}
	}
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := ejecting
		route.SlowStart = 32 * time.Second
		c := newCrew(t, 2, route)
		c.shares("at first", 256, 256)
		c.fail(0, 3)
		after(10 * time.Second)
		c.shares("at the start", 16, 256)
		after(16 * time.Second)
		c.shares("half-way", 144, 256)
		after(13 * time.Second)
		c.shares("before the last step", 240, 256)
		after(time.Second)
		c.shares("at the end", 256, 256)
		c.fail(0, 1)
		after(20*time.Second + 3*time.Second)
		c.shares("on the way up again", 32, 256)
		c.fail(0, 1)
		after(5 * time.Second)
		c.shares("fallen on the way up", 0, 256)
	})
}

// Claims and health go on in a new configuration that has the endpoint; one that has gone is forgotten when nobody
// needs it any more, and its number goes to the next.
func TestMembersOutliveConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2, ejecting)
		c.fail(0, 3)
		choice := c.Begin(netip.AddrPort{}, netip.AddrPort{})
		held := c.Next(&choice).Member()
		route := conf.Route{Name: "web", Upstreams: []conf.Upstream{c.specs[1], c.specs[0]}, Balance: conf.LeastConn,
			MaxFails: 3, FailTimeout: 10 * time.Second}
		fresh := c.pool.Group(&route)
		fresh.Use(fresh.resolve(nil, make(routedSources)))
		c.pool.Settle([]*Group{fresh}, nil)
		c.Group = fresh
		c.shares("in the new configuration", 256, 0)
		if c.member(0) != held || held.active.Load() != 1 {
			t.Errorf("the endpoint has %d claims in the new configuration, want 1", c.member(0).active.Load())
		}
		c.pool.Settle(nil, nil)
		after(forgetAfter + 1)
		c.pool.Settle(nil, nil)
		if n := len(c.pool.members); n != 1 || c.pool.at(held.Number()) != held {
			t.Errorf("%d members are kept, want the one with a claim", n)
		}
		held.Release()
		c.pool.Settle(nil, nil)
		c.pool.Settle(nil, nil)
		if len(c.pool.members) != 0 || len(c.pool.rosters) != 0 {
			t.Errorf("%d members and %d rosters are kept", len(c.pool.members), len(c.pool.rosters))
		}
		if held.claim() {
			t.Error("a member that was forgotten takes a claim")
		}
		other := newCrewIn(t, c.pool, "other")
		if got := other.member(0).Number(); got != 1 && got != 2 {
			t.Errorf("the next member has number %d, want a vacant one", got)
		}
	})
}

func newCrewIn(t *testing.T, pool *Pool, name string) *crew {
	c := &crew{t: t, Group: pool.Group(&conf.Route{Name: name, Upstreams: literals(1)})}
	c.Use(c.resolve(nil, make(routedSources)))
	return c
}

// When much changes at once, the log tells of the first ten in a second and counts the rest.
func TestChangeLogIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 40, ejecting)
		for place := range 15 {
			c.fail(place, 3)
		}
		if n := strings.Count(c.log.String(), "\n"); n != changesPerSecond {
			t.Errorf("%d lines for 15 changes, want %d", n, changesPerSecond)
		}
		after(2 * time.Second)
		c.fail(20, 3)
		if !strings.Contains(c.log.String(), "left_out=5") {
			t.Errorf("the next line does not tell of those left out:\n%s", &c.log)
		}
	})
}
