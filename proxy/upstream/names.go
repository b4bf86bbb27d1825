package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Answer is what a DNS name resolved to.
type Answer struct {
	Addrs []netip.Addr
	TTL   time.Duration // the least of its records; 0 where nothing says how long it holds
}

// LookupFunc resolves a DNS name to addresses of both families: [Resolver.Lookup], or a test's own.
type LookupFunc func(ctx context.Context, host string) (Answer, error)

const (
	// lookupTimeout bounds one look-up: resolv.conf(5)'s default of two attempts at 5 s each.
	lookupTimeout = 10 * time.Second
	// lookupsAtOnce bounds how many names are asked for at the same time.
	lookupsAtOnce = 16
)

// Names is the DNS names of upstreams, each with its last good addresses and when it is to be looked up next: when its
// TTL has passed, but no sooner than after a least interval and no later than after a most. After a look-up that failed
// the interval is the least one, doubled for each further failure in a row, up to the most. Its methods are safe for
// concurrent use.
type Names struct {
	lookup LookupFunc
	logger *slog.Logger

	mu          sync.Mutex // guards the fields below
	names       map[string]*dnsName
	least, most time.Duration
}

// dnsName is what is known of a name.
type dnsName struct {
	inForce  bool         // an upstream of the configuration in force has it
	addrs    []netip.Addr // last good, sorted
	ttl      time.Duration
	asked    time.Time // when it was looked up last
	good     time.Time // when it last resolved; zero: never
	failures int       // in a row
	err      error     // of the last look-up
}

// NewNames returns Names that lookup resolves, one call for a name at a time.
func NewNames(lookup LookupFunc, logger *slog.Logger) *Names {
	return &Names{lookup: lookup, logger: logger, names: make(map[string]*dnsName)}
}

// LookUp resolves names now, be they due or not. What fails is an error, and keeps its last good addresses.
func (n *Names) LookUp(ctx context.Context, names []string) error {
	errs := make([]error, len(names))
	var eg errgroup.Group
	eg.SetLimit(lookupsAtOnce)
	for i, name := range names {
		eg.Go(func() error {
			errs[i] = n.lookUp(ctx, name)
			return nil
		})
	}
	_ = eg.Wait() // every error is among errs
	return errors.Join(errs...)
}

func (n *Names) lookUp(ctx context.Context, name string) error {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	answer, err := n.lookup(limited, name)
	if ctx.Err() != nil {
		return ctx.Err() // which says nothing about the name
	}
	n.note(name, answer, err)
	if err != nil {
		return fmt.Errorf("resolve upstream %s: %w", name, err)
	}
	return nil
}

// note keeps what a look-up has found.
func (n *Names) note(name string, answer Answer, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.names[name]
	if d == nil {
		d = &dnsName{}
		n.names[name] = d
	}
	d.asked, d.err = time.Now(), err
	if err != nil {
		d.failures++
		return
	}
	if d.failures > 0 && !d.good.IsZero() {
		n.logger.Info("upstream name resolves again", "name", name, "failures", d.failures)
	}
	d.good, d.failures, d.ttl, d.addrs = d.asked, 0, answer.TTL, sortedAddrs(answer.Addrs)
}

// sortedAddrs returns addresses sorted, each once.
func sortedAddrs(addrs []netip.Addr) []netip.Addr {
	sorted := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		sorted[i] = a.Unmap()
	}
	slices.SortFunc(sorted, netip.Addr.Compare)
	return slices.Compact(sorted)
}

// lastGood returns the addresses that a name had last, in a list that is not changed any more.
func (n *Names) lastGood(name string) []netip.Addr {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.names[name]; d != nil {
		return d.addrs
	}
	return nil
}

// Use makes the names of groups those that come due, with these bounds of the interval, and forgets all others.
func (n *Names) Use(groups []*Group, least, most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.least, n.most = least, most
	used := make(map[string]*dnsName)
	for _, name := range NamesOf(groups) {
		d := n.names[name]
		if d == nil {
			d = &dnsName{}
		}
		d.inForce = true
		used[name] = d
	}
	n.names = used
}

// Due returns the names in force whose time has come.
func (n *Names) Due() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var due []string
	for name, d := range n.names {
		if d.inForce && !time.Now().Before(n.next(d)) {
			due = append(due, name)
		}
	}
	return due
}

// next returns when a name is to be looked up. The caller holds n.mu.
func (n *Names) next(d *dnsName) time.Time {
	interval := min(max(d.ttl, n.least), n.most)
	if d.failures > 0 {
		interval = min(n.least<<min(d.failures-1, 20), n.most)
	}
	return d.asked.Add(interval)
}

// NameInfo is a DNS name of an upstream as an operator wants to see it.
type NameInfo struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"` // last good
	TTL       float64      `json:"ttl_seconds"`
	Resolved  *time.Time   `json:"resolved"` // when it last did; null: never
	Next      time.Time    `json:"next"`     // when it is looked up again
	Failures  int          `json:"failures"` // in a row
	Error     string       `json:"error,omitempty"`
}

// Info returns the names in force, sorted.
func (n *Names) Info() []NameInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []NameInfo{}
	for name, d := range n.names {
		if d.inForce {
			list = append(list, d.info(name, n.next(d)))
		}
	}
	slices.SortFunc(list, func(a, b NameInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (d *dnsName) info(name string, next time.Time) NameInfo {
	i := NameInfo{Name: name, Addresses: d.addrs, TTL: d.ttl.Seconds(), Next: next, Failures: d.failures}
	if !d.good.IsZero() {
		i.Resolved = &d.good
	}
	if d.err != nil {
		i.Error = d.err.Error()
	}
	return i
}
