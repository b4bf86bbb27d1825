package udp

import "time"

// idleClass is the flows that share an idle timeout and a NAT block, in the order of their last datagrams.
type idleClass struct {
	timeout     tick // 0: none
	block       *natBlock
	fresh       flowList // states fresh and answered
	established flowList
}

// class returns the class of flows with that timeout (0: none) and block. Classes are never forgotten: there are no
// more than idle timeouts in the configurations so far times NAT blocks.
func (t *flowTable) class(timeout time.Duration, block *natBlock) *idleClass {
	var ticks tick
	if timeout > 0 {
		ticks = ticksIn(timeout)
	}
	for _, c := range t.classes {
		if c.timeout == ticks && c.block == block {
			return c
		}
	}
	c := &idleClass{timeout: ticks, block: block, fresh: newFlowList(), established: newFlowList()}
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
