package tcp

import (
	"fmt"
	"testing"
	"time"

	"anyport/proxy/route"
	"anyport/proxy/stats"
)

func TestRouteRefs(t *testing.T) {
	registry := stats.NewRegistry(2)
	refs := newRouteRefs(1, registry)
	newRoute := func(i int) *route.Route {
		name := fmt.Sprint(i)
		return &route.Route{Name: name, Stats: registry.Route(name), ConnectTimeout: time.Second, TCPIdle: time.Minute}
	}
	if n := refs.hold(nil); n != unrouted || refs.at(n).shard != &registry.Unrouted.TCP[1] {
		t.Error("no route has another number or shard")
	}
	held := newRoute(0)
	number := refs.hold(held)
	if refs.hold(held) != number {
		t.Error("one route has two numbers")
	}
	for i := range 10 * fewRoutes {
		refs.release(refs.hold(newRoute(i)))
	}
	ref := refs.at(number)
	if ref.route != held || ref.shard != &held.Stats.TCP[1] || ref.connect != ticks(time.Second) ||
		ref.idle != ticks(time.Minute) {
		t.Errorf("a held route was changed: %+v", ref)
	}
	if n := len(refs.numbers); n > 2*fewRoutes || len(refs.refs) > 2*fewRoutes {
		t.Errorf("%d routes are remembered of which one is held", n)
	}
	refs.release(number)
	refs.release(number)
	for i := range 10 * fewRoutes {
		refs.release(refs.hold(newRoute(i)))
	}
	if _, known := refs.numbers[held]; known {
		t.Error("a route that nobody holds is never forgotten")
	}
}
