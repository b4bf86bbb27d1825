package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"anyport/conf"
)

// LookupFunc resolves a DNS name to addresses: net.Resolver.LookupNetIP with network "ip", or a test's own.
type LookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

const (
	// lookupTimeout bounds one look-up: resolv.conf(5)'s default of two attempts at 5 s each.
	lookupTimeout = 10 * time.Second
	// lookupsAtOnce bounds how many names are asked for at the same time.
	lookupsAtOnce = 16
	// MaxEndpoints bounds a group: addresses beyond it, in the order of Resolve, are left out.
	MaxEndpoints = 256
)

// Resolve returns what each group's upstreams lead to now, for [Group.Use]. A name that does not resolve keeps its
// last good addresses, and its error is part of the one returned beside the result. Order: as the upstreams were
// written, and the addresses of one name sorted, so that every node of an anycast set sees one order.
func Resolve(ctx context.Context, lookup LookupFunc, groups []*Group) ([][]Endpoint, error) {
	found := lookupAll(ctx, lookup, namesOf(groups))
	sources := make(routedSources)
	fresh := make([][]Endpoint, len(groups))
	for i, g := range groups {
		fresh[i] = g.resolve(found, sources)
	}
	return fresh, found.err()
}

func namesOf(groups []*Group) []string {
	var names []string
	for _, g := range groups {
		for _, s := range g.specs {
			if s.Name != "" {
				names = append(names, s.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// answers is what DNS names resolved to.
type answers map[string]answer

type answer struct {
	addrs []netip.Addr // sorted
	err   error
}

func (a answers) err() error {
	var errs []error
	for _, ans := range a {
		errs = append(errs, ans.err)
	}
	return errors.Join(errs...)
}

func lookupAll(ctx context.Context, lookup LookupFunc, names []string) answers {
	found := make([]answer, len(names))
	var eg errgroup.Group
	eg.SetLimit(lookupsAtOnce)
	for i, name := range names {
		eg.Go(func() error {
			found[i] = lookupOne(ctx, lookup, name)
			return nil
		})
	}
	_ = eg.Wait() // every error is in its answer
	all := make(answers, len(names))
	for i, name := range names {
		all[name] = found[i]
	}
	return all
}

func lookupOne(ctx context.Context, lookup LookupFunc, name string) answer {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := lookup(ctx, "ip", name)
	if err != nil {
		return answer{err: fmt.Errorf("resolve upstream %s: %w", name, err)}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return answer{addrs: slices.Compact(addrs)}
}

func (g *Group) resolve(names answers, sources routedSources) []Endpoint {
	var list []Endpoint
	seen := make(map[endpointKey]bool) // what two names have in common counts as the first one's
	add := func(s conf.Upstream, addrs ...netip.Addr) {
		for _, a := range addrs {
			e := Endpoint{Addr: a, Source: sources.of(a), spec: s}
			if !seen[e.key()] {
				seen[e.key()] = true
				list = append(list, e)
			}
		}
	}
	for _, s := range g.specs {
		switch ans := names[s.Name]; {
		case s.Addr.IsValid():
			add(s, s.Addr)
		case ans.err != nil:
			add(s, g.lastGood(s)...)
		default:
			add(s, ans.addrs...)
		}
	}
	return list[:min(len(list), MaxEndpoints)]
}

// lastGood returns the addresses that a name has had, whatever its port and options were.
func (g *Group) lastGood(s conf.Upstream) []netip.Addr {
	var list []netip.Addr
	for _, e := range g.Endpoints() {
		if e.spec.Name == s.Name {
			list = append(list, e.Addr)
		}
	}
	return list
}
