package steering

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anyport/conf/rule"
)

// rated is a set whose one rule, of that name, admits burst connections of a source, and then next to none.
func rated(name string, burst int) rule.Set {
	set := steerAll()
	set.Rules[0].Name = name
	set.Rules[0].Rate = rule.Rate{Interval: time.Hour, Burst: burst, Bits4: 24, Bits6: 64}
	return set
}

// rateTest is a world in which service 0 is served.
type rateTest struct {
	*world
	s        *Steering
	lastPort atomic.Uint32 // that a client has left from
}

func newRateTest(t *testing.T, syncookies int, options ...func(*Options)) *rateTest {
	r := &rateTest{world: newWorld(t)}
	for _, set := range options {
		set(&r.opts)
	}
	if err := r.ns.Sysctl("net.ipv4.tcp_syncookies", fmt.Sprint(syncookies)); err != nil {
		t.Fatal(err)
	}
	r.s = r.load()
	r.makeLocal(prefix4, prefix6)
	r.servers = newServers(t)
	r.serve(r.s, r.servers, 0, "it")
	return r
}

// sources returns, for the family of an anycast address, two sources of one network and one of another.
func sources(anycast netip.Addr) (a, sameNetwork, other netip.Addr) {
	if anycast.Is4() {
		return netip.MustParseAddr("127.0.1.1"), netip.MustParseAddr("127.0.1.2"), netip.MustParseAddr("127.0.2.1")
	}
	return netip.MustParseAddr("2001:db8:0:7::1"), netip.MustParseAddr("2001:db8:0:7:ffff::2"),
		netip.MustParseAddr("2001:db8:0:8::1")
}

// admitted opens n connections from src, one after the other, and returns how many were served. The rest must have been
// refused.
func (r *rateTest) admitted(n int, src, dst netip.Addr) (served int) {
	r.t.Helper()
	for range n {
		switch who := r.who(src, dst); who {
		case "it":
			served++
		case refused:
		default:
			r.t.Fatalf("%s met %q", src, who)
		}
	}
	return served
}

// who opens a connection from a port that no other has left from: one that the kernel chooses might come twice.
func (r *rateTest) who(src, dst netip.Addr) string {
	var name []byte
	err := r.ns.Do(func() error {
		from := netip.AddrPortFrom(src, uint16(10000+r.lastPort.Add(1)))
		d := net.Dialer{Timeout: patience, Control: freebind, LocalAddr: net.TCPAddrFromAddrPort(from)}
		c, err := d.Dial("tcp", netip.AddrPortFrom(dst, 7).String())
		if err != nil {
			return err
		}
		defer c.Close()
		name, err = io.ReadAll(c)
		return err
	})
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case err != nil:
		return err.Error()
	}
	return string(name)
}

// A source gets its burst and no more, whatever the kernel does about SYN floods: with cookies the program runs for the
// end of each handshake too, which must neither count nor be refused.
func TestRate(t *testing.T) {
	for syncookies := range 3 {
		t.Run(fmt.Sprint("syncookies ", syncookies), func(t *testing.T) {
			r := newRateTest(t, syncookies)
			publish(t, r.s, rated("a", 5))
			for _, anycast := range families {
				a, same, other := sources(anycast)
				if n := r.admitted(4, a, anycast); n != 4 {
					t.Errorf("%s was served %d times, 4 connections are below its burst", a, n)
				}
				if n := r.admitted(3, same, anycast); n != 1 {
					t.Errorf("%s was served %d times, 1 was left of its network's burst", same, n)
				}
				if n := r.admitted(6, other, anycast); n != 5 {
					t.Errorf("%s was served %d times, its burst is 5", other, n)
				}
			}
			r.wantLimited(6)
		})
	}
}

// wantLimited checks that the rule has refused n packets, all of them for its rate.
func (r *rateTest) wantLimited(n uint64) {
	r.t.Helper()
	list, err := r.s.Counters()
	if err != nil {
		r.t.Fatal(err)
	}
	c := list[firstID].Counters
	if c[Limited] != n || c[Refused] != n {
		r.t.Errorf("%d packets counted as limited and %d as refused, want %d", c[Limited], c[Refused], n)
	}
}

func TestRateLeavesUDPAlone(t *testing.T) {
	r := newRateTest(t, 1)
	publish(t, r.s, rated("a", 1))
	for _, anycast := range families {
		a, _, _ := sources(anycast)
		for range 10 {
			if who := r.servers.who(r.ns, rule.UDP, a, netip.AddrPortFrom(anycast, 7)); who != "it" {
				t.Fatalf("a datagram met %q", who)
			}
		}
	}
	r.wantLimited(0)
}

// What a source has used up stays with the rule's name over generations, and over a program upgrade.
func TestRateOutlivesGenerations(t *testing.T) {
	r := newRateTest(t, 1)
	for _, anycast := range families {
		a, _, _ := sources(anycast)
		publish(t, r.s, rated("a", 3))
		if n := r.admitted(2, a, anycast); n != 2 {
			t.Errorf("served %d times", n)
		}
		publish(t, r.s, rated("a", 3))
		if _, err := r.s.Upgrade(); err != nil {
			t.Fatal(err)
		}
		if n := r.admitted(2, a, anycast); n != 1 {
			t.Errorf("served %d times after a new generation, 1 was left", n)
		}
		publish(t, r.s, rated("b", 3))
		if n := r.admitted(4, a, anycast); n != 3 {
			t.Errorf("another rule served %d times, its burst is 3", n)
		}
		publish(t, r.s, steerAll())
		if n := r.admitted(4, a, anycast); n != 4 {
			t.Errorf("served %d of 4 times without a rate", n)
		}
	}
}

// A rule that takes over the id of a vanished one does not take over what sources had used up.
func TestRateOfReusedID(t *testing.T) {
	r := newRateTest(t, 1, func(o *Options) { o.MaxRules = 2 })
	for _, anycast := range families {
		a, _, _ := sources(anycast)
		for _, name := range []string{"a", "b", "c", "d"} {
			publish(t, r.s, rated(name, 3))
			if n := r.admitted(4, a, anycast); n != 3 {
				t.Errorf("rule %q served %d times, its burst is 3", name, n)
			}
		}
	}
}

func TestRateRefills(t *testing.T) {
	r := newRateTest(t, 1)
	set := rated("a", 2)
	set.Rules[0].Rate.Interval = 500 * time.Millisecond
	publish(t, r.s, set)
	for _, anycast := range families {
		a, _, _ := sources(anycast)
		start := time.Now()
		served := r.admitted(2, a, anycast)
		for served < 6 {
			time.Sleep(20 * time.Millisecond)
			served += r.admitted(1, a, anycast)
		}
		if passed := time.Since(start); passed < 4*500*time.Millisecond-50*time.Millisecond {
			t.Errorf("%d connections were served within %v", served, passed)
		}
	}
}

// Connections that come at once are counted exactly.
func TestRateIsExact(t *testing.T) {
	r := newRateTest(t, 1)
	publish(t, r.s, rated("a", 50))
	for _, anycast := range families {
		a, same, _ := sources(anycast)
		var served atomic.Int64
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				src := a
				if i%2 == 0 {
					src = same
				}
				for range 20 {
					if r.who(src, anycast) == "it" {
						served.Add(1)
					}
				}
			})
		}
		clients.Wait()
		if n := served.Load(); n != 50 {
			t.Errorf("%d of 160 connections were served, the burst is 50", n)
		}
	}
}

// A twin answers about rules: however often it is asked, it is no client.
func TestTwinKnowsNoRate(t *testing.T) {
	r := newRateTest(t, 1)
	publish(t, r.s, rated("a", 1))
	twin, err := r.s.Twin()
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	for range 5 {
		for _, anycast := range families {
			answer, err := twin.Ask(rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast, 7))
			if err != nil || answer.Outcome != Steered {
				t.Errorf("%+v %v", answer, err)
			}
		}
	}
}

// A client that takes the same ports again at once is charged for every second connection at least, not for none.
func TestRateOfOnePort(t *testing.T) {
	r := newRateTest(t, 1)
	publish(t, r.s, rated("a", 3))
	for _, anycast := range families {
		a, _, _ := sources(anycast)
		served := 0
		for range 10 {
			port := r.lastPort.Load()
			served += r.admitted(1, a, anycast)
			r.lastPort.Store(port)
		}
		if served < 3 || served > 6 {
			t.Errorf("%d connections from one port were served, the burst is 3", served)
		}
	}
}
