// Package route holds the proxy's routes of one generation and finds the one for an original destination.
//
// A [Table] is immutable. [Live] points to the current one; the data planes ask it for every new connection and flow
// and keep the *Route they got, so a reload never changes what is already running.
package route

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// Route is one route of one generation: what the data planes need to know of it.
type Route struct {
	Name           string
	Upstreams      *upstream.Group
	ProxyProtocol  conf.ProxyProtocol
	HeaderSenders  *bart.Lite    // whose connections begin with a PROXY header; nil: nobody's
	HeaderTimeout  time.Duration // 0: none
	ClientSource   bool          // connections to upstreams come from the client's own address and port
	Sources        Sources       // without ClientSource
	ConnectTimeout time.Duration // 0: the kernel's own limit
	TCPIdle        time.Duration // 0: none
	UDPIdle        time.Duration // 0: none
	HalfClose      time.Duration // TCP: silence of the side that goes on; 0: none but TCPIdle
	UserTimeout    time.Duration // TCP: see sock.SetUserTimeout; 0: the kernel's own limit
	Keepalive      time.Duration // TCP: see sock.SetKeepalive; 0: none
	MaxConnections int           // TCP, at once; 0: no limit
	OffloadAfter   int           // UDP: the kernel is to forward flows after so many datagrams; 0: never
	MaxFlows       int           // UDP, at once; 0: no limit
	MaxDatagram    int           // UDP to clients: the longest that is sent as one packet, in bytes of content; 0: no limit
	Stats          *stats.Route
}

// Sources are addresses of the host that TCP connections to upstreams come from, by family. Where there is none, the
// host's routes choose.
type Sources struct{ V4, V6 []netip.Addr }

// NewSources sorts addresses by family.
func NewSources(addrs []netip.Addr) (s Sources) {
	for _, a := range addrs {
		if a.Is4() {
			s.V4 = append(s.V4, a)
		} else {
			s.V6 = append(s.V6, a)
		}
	}
	return s
}

// Towards returns the sources of the family of to.
func (s Sources) Towards(to netip.Addr) []netip.Addr {
	if to.Is4() {
		return s.V4
	}
	return s.V6
}

// TakesHeader reports whether a TCP connection from this sender must begin with a PROXY header.
func (r *Route) TakesHeader(from netip.Addr) bool {
	return r.HeaderSenders != nil && r.HeaderSenders.Contains(from)
}

// Table is the routes of one generation. The zero value claims nothing.
type Table struct {
	rules  *rule.Table
	routes []*Route // by rule index; nil for a rule that is no route of the proxy
}

// NewTable returns a table over compiled rules; routes[i] is what rule i leads to, or nil.
func NewTable(rules *rule.Table, routes []*Route) *Table {
	return &Table{rules: rules, routes: routes}
}

// Lookup returns the route that claims a packet, or nil.
func (t *Table) Lookup(p rule.Protocol, src netip.Addr, dst netip.AddrPort) *Route {
	if t.rules == nil {
		return nil
	}
	d := t.rules.Lookup(p, src, dst)
	if d.Verdict != rule.Steer || d.Rule < 0 || d.Rule >= len(t.routes) {
		return nil
	}
	return t.routes[d.Rule]
}

// Serves reports whether addr lies in a served prefix, that is, whether dialling it would lead back to us.
func (t *Table) Serves(addr netip.Addr) bool {
	return t.rules != nil && t.rules.Serves(addr)
}

// Grace is how long a packet that the current table does not claim is still looked up in the previous one: the tables
// of user space and kernel cannot change at one instant, so user space goes first.
const Grace = time.Second

// Live is the table in force. The zero value claims nothing. It is safe for concurrent use.
type Live struct {
	state atomic.Pointer[state]
}

type state struct {
	current, previous *Table
	swapped           time.Time
}

// Swap puts t in force; the table before it answers misses for Grace.
func (l *Live) Swap(t *Table) {
	s := &state{current: t, swapped: time.Now()}
	if old := l.state.Load(); old != nil {
		s.previous = old.current
	}
	l.state.Store(s)
}

// Lookup returns the route that claims a packet in the current table, or within Grace in the previous one, or nil.
func (l *Live) Lookup(p rule.Protocol, src netip.Addr, dst netip.AddrPort) *Route {
	s := l.state.Load()
	if s == nil {
		return nil
	}
	if r := s.current.Lookup(p, src, dst); r != nil {
		return r
	}
	if s.previous == nil || time.Since(s.swapped) > Grace {
		return nil
	}
	return s.previous.Lookup(p, src, dst)
}

// Serves reports whether addr lies in a prefix that the current table serves.
func (l *Live) Serves(addr netip.Addr) bool {
	s := l.state.Load()
	return s != nil && s.current.Serves(addr)
}
