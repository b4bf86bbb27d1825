package tcp

import (
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// routeRefs gives small numbers to routes, because a connection must hold no pointer. A route keeps its number while a
// connection holds it, also when its generation is no longer in force.
type routeRefs struct {
	worker  int
	refs    []routeRef
	numbers map[*route.Route]routeNumber
	vacant  []routeNumber
	sweepAt int // numbers in use that make a sweep worth its cost
}

// routeRef is what connections need of their route.
type routeRef struct {
	route     *route.Route // nil for what no route claims
	shard     *stats.Shard
	connect   tick // connect timeout; 0: none
	idle      tick // idle timeout; 0: none
	halfClose tick // half-close timeout; 0: none
	header    tick // PROXY header timeout; 0: none
	held      int32
}

type routeNumber uint32

// unrouted is the number of what no route claims.
const unrouted routeNumber = 0

const fewRoutes = 64

func newRouteRefs(worker int, registry *stats.Registry) routeRefs {
	return routeRefs{
		worker:  worker,
		refs:    []routeRef{{shard: &registry.Unrouted.TCP[worker]}},
		numbers: make(map[*route.Route]routeNumber),
		sweepAt: fewRoutes,
	}
}

func (r *routeRefs) at(n routeNumber) *routeRef { return &r.refs[n] }

// hold returns the number of rt, which may be nil. Each call needs a release.
func (r *routeRefs) hold(rt *route.Route) routeNumber {
	n := unrouted
	if rt != nil {
		known := false
		if n, known = r.numbers[rt]; !known {
			n = r.add(rt)
		}
	}
	r.refs[n].held++
	return n
}

func (r *routeRefs) release(n routeNumber) { r.refs[n].held-- }

func (r *routeRefs) add(rt *route.Route) routeNumber {
	if len(r.numbers) >= r.sweepAt {
		r.sweep()
	}
	var n routeNumber
	if last := len(r.vacant) - 1; last >= 0 {
		n, r.vacant = r.vacant[last], r.vacant[:last]
	} else {
		n = routeNumber(len(r.refs))
		r.refs = append(r.refs, routeRef{})
	}
	r.refs[n] = routeRef{route: rt, shard: &rt.Stats.TCP[r.worker], connect: ticks(rt.ConnectTimeout),
		idle: ticks(rt.TCPIdle), halfClose: ticks(rt.HalfClose), header: ticks(rt.HeaderTimeout)}
	r.numbers[rt] = n
	return n
}

// sweep forgets the routes that no connection holds, so that those of old generations do not pile up. One that is
// still in force comes back with its next connection; doubling the limit keeps that rare.
func (r *routeRefs) sweep() {
	for rt, n := range r.numbers {
		if r.refs[n].held == 0 {
			delete(r.numbers, rt)
			r.refs[n] = routeRef{}
			r.vacant = append(r.vacant, n)
		}
	}
	r.sweepAt = 2*len(r.numbers) + fewRoutes
}
