package steering

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ReturnPaths keeps the policy rules that bring replies of upstreams here whose destination is a client's address: one
// rule for each path, and for each family one route, in a table of their own. It touches only rules and routes with
// RouteProtocol in that table. Its methods are safe for concurrent use.
type ReturnPaths struct {
	ns      *namespace
	netlink *netlink.Handle
	lo      int // index of the loopback interface

	mu     sync.Mutex // guards the field below, and lets one change happen at a time
	wanted []ReturnPath
}

// OpenReturnPaths opens a netlink socket in a namespace, given like Options.Netns. It changes nothing yet. The caller
// closes it.
func OpenReturnPaths(netns string) (*ReturnPaths, error) {
	ns, err := openNamespace(netns)
	if err != nil {
		return nil, err
	}
	r := &ReturnPaths{ns: ns}
	if r.netlink, r.lo, err = openLoopback(ns); err != nil {
		r.Close()
		return nil, fmt.Errorf("open return paths: %w", err)
	}
	return r, nil
}

// Close closes the socket and leaves the rules. A Watch must have ended before.
func (r *ReturnPaths) Close() error {
	if r.netlink != nil {
		r.netlink.Close()
	}
	return r.ns.close()
}

// Sync makes exactly these the return paths, whichever process added what is there. It needs CAP_NET_ADMIN. It returns
// an error that matches ErrLocalUpstream for an upstream on this host, and then has changed nothing.
func (r *ReturnPaths) Sync(paths []ReturnPath) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, err := r.keys(paths)
	if err != nil {
		return err
	}
	r.wanted = slices.Clone(paths)
	_, err = r.apply(keys)
	return err
}

// Remove removes every rule and route of ours.
func (r *ReturnPaths) Remove() error { return r.Sync(nil) }

// keys returns the rules for paths, each once.
func (r *ReturnPaths) keys(paths []ReturnPath) (map[returnKey]bool, error) {
	keys := make(map[returnKey]bool, len(paths))
	for _, p := range paths {
		k, ok, err := r.key(p)
		if err != nil {
			return nil, err
		}
		if ok {
			keys[k] = true
		}
	}
	return keys, nil
}

// apply adds what is missing and removes what is too much, and returns the paths that it added rules for. A family's
// route is there while a rule may lead to it.
func (r *ReturnPaths) apply(keys map[returnKey]bool) (added []ReturnPath, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		fresh, err := r.applyFamily(family, keys)
		if err != nil {
			return added, explainPrivilege(err)
		}
		added = append(added, fresh...)
	}
	return added, nil
}

func (r *ReturnPaths) applyFamily(family int, keys map[returnKey]bool) (added []ReturnPath, err error) {
	present, err := r.rules(family)
	if err != nil {
		return nil, err
	}
	missing := make(map[returnKey]bool)
	for k := range keys {
		if netlinkFamily(k.path.Upstream) == family {
			missing[k] = true
		}
	}
	if len(missing) > 0 {
		if err := r.netlink.RouteReplace(r.everything(family)); err != nil {
			return nil, fmt.Errorf("add the local route of table %d: %w", ReturnTable, err)
		}
	}
	needed := len(missing) > 0
	for i := range present {
		k, ok := returnKeyOf(&present[i])
		if ok && missing[k] {
			delete(missing, k)
			continue
		}
		if err := r.netlink.RuleDel(&present[i]); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("remove the rule for replies of %s: %w", k.path.Upstream, err)
		}
	}
	for k := range missing {
		if err := r.netlink.RuleAdd(k.rule()); err != nil && !errors.Is(err, unix.EEXIST) {
			return added, fmt.Errorf("add a rule for replies of %s: %w", k.path.Upstream, err)
		}
		added = append(added, k.path)
	}
	if !needed {
		return added, r.removeRoute(family)
	}
	return added, nil
}

// removeRoute removes the route of a family, if it is there.
func (r *ReturnPaths) removeRoute(family int) error {
	filter := &netlink.Route{Table: ReturnTable, Protocol: RouteProtocol}
	routes, err := r.netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list the routes of table %d: %w", ReturnTable, err)
	}
	for i := range routes {
		if err := r.netlink.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the local route of table %d: %w", ReturnTable, err)
		}
	}
	return nil
}

// rules returns our rules of a family.
func (r *ReturnPaths) rules(family int) (ours []netlink.Rule, err error) {
	var all []netlink.Rule
	for range dumpAttempts {
		if all, err = r.netlink.RuleList(family); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list policy rules: %w", err)
	}
	for _, rule := range all {
		if rule.Protocol == RouteProtocol && rule.Table == ReturnTable {
			rule.Family = family
			ours = append(ours, rule)
		}
	}
	return ours, nil
}
