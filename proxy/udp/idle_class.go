package udp

import (
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// idleClass is the flows that share an idle timeout and a NAT block, in the order of their last datagrams. Those of a
// route with a limit of its own have classes of their own.
type idleClass struct {
	timeout     tick // 0: none
	block       *natBlock
	route       *stats.Route // nil: any without a limit
	fresh       flowList     // states fresh and answered
	established flowList
}

// class returns the class of a route's flows from a block. Classes are never forgotten: for each NAT block, there are no
// more than idle timeouts and limited routes in the configurations so far.
func (t *flowTable) class(r *route.Route, block *natBlock) *idleClass {
	var ticks tick
	if r.UDPIdle > 0 {
		ticks = ticksIn(r.UDPIdle)
	}
	var limited *stats.Route
	if r.MaxFlows > 0 {
		limited = r.Stats
	}
	for _, c := range t.classes {
		if c.timeout == ticks && c.block == block && c.route == limited {
			return c
		}
	}
	c := &idleClass{timeout: ticks, block: block, route: limited, fresh: newFlowList(), established: newFlowList()}
	t.classes = append(t.classes, c)
	return c
}

// listOf returns the list that a flow is in.
func (t *flowTable) listOf(f *flow) *flowList {
	c := t.targets.list[f.target].class
	if f.state == established {
		return &c.established
	}
	return &c.fresh
}

// fromClient notes that a datagram of the flow's client passes.
func (t *flowTable) fromClient(id flowID, now tick) {
	f := &t.flows[id]
	if f.state != answered {
		t.touch(id, now)
		return
	}
	t.listOf(f).remove(t.flows, id)
	f.state, f.seen = established, now
	t.listOf(f).push(t.flows, id)
}

// fromUpstream notes that a datagram of the flow's upstream passes.
func (t *flowTable) fromUpstream(id flowID, now tick) {
	if f := &t.flows[id]; f.state == fresh {
		f.state = answered
	}
	t.touch(id, now)
}

func (t *flowTable) touch(id flowID, now tick) {
	f := &t.flows[id]
	if f.seen == now {
		return
	}
	f.seen = now
	if list := t.listOf(f); list.tail != id {
		list.remove(t.flows, id)
		list.push(t.flows, id)
	}
}

// expired returns a flow whose idle timeout has passed, or noFlow.
func (t *flowTable) expired(now tick) flowID {
	for _, c := range t.classes {
		if c.timeout == 0 {
			continue
		}
		for _, l := range []flowList{c.fresh, c.established} {
			if !l.empty() && now-t.flows[l.head].seen >= c.timeout {
				return l.head
			}
		}
	}
	return noFlow
}
