package udp

import (
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// targetKey is what flows to one upstream address have in common.
type targetKey struct {
	route    *route.Route
	member   *upstream.Member
	upstream [16]byte
	block    *natBlock
}

// target is a targetKey with all that follows from it, so that the flows themselves need no pointers. It lives as long
// as a flow refers to it.
type target struct {
	key      targetKey
	upstream sock.Addr // Port is 0
	shard    *stats.Shard
	class    *idleClass
	flows    int

	offloadAfter int  // see FollowRoutes
	removed      bool // the same
	closing, out bool // see FollowUpstreams
}

// targetTable holds the targets in use.
type targetTable struct {
	list  []target
	spare []uint32 // places in list that are not in use
	byKey map[targetKey]uint32
}

// get returns the place of the target with that key, made by fill if it is new, and counts one more flow of it.
func (t *targetTable) get(key targetKey, fill func(*target)) uint32 {
	i, ok := t.byKey[key]
	if !ok {
		i = t.place()
		t.list[i] = target{key: key, upstream: sock.Addr{IP: key.upstream}}
		fill(&t.list[i])
		t.byKey[key] = i
	}
	t.list[i].flows++
	return i
}

func (t *targetTable) place() uint32 {
	if n := len(t.spare); n > 0 {
		i := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return i
	}
	t.list = append(t.list, target{})
	return uint32(len(t.list) - 1)
}

// release counts one flow less and forgets a target that has none left.
func (t *targetTable) release(i uint32) {
	if t.list[i].flows--; t.list[i].flows > 0 {
		return
	}
	delete(t.byKey, t.list[i].key)
	t.list[i] = target{}
	t.spare = append(t.spare, i)
}
