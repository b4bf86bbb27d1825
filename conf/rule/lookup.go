package rule

import "net/netip"

// Lookup decides about a packet of protocol p, which is TCP or UDP, from src to dst. IPv4-mapped addresses stand for
// the IPv4 address in them, and zones are ignored. A src that is not of dst's address family, such as the zero Addr, is
// admitted by rules that admit all of dst's family only. Lookup does not allocate.
func (t *Table) Lookup(p Protocol, src netip.Addr, dst netip.AddrPort) Decision {
	node, ok := t.index.Lookup(plain(dst.Addr()))
	if !ok {
		return Decision{Verdict: Pass, Rule: Outside}
	}
	row := t.Rows[t.row(t.Nodes[node].List(p), dst.Port())]
	action := row.Base
	if row.SourceSet != 0 {
		action += t.ordinal(row.SourceSet, plain(src))
	}
	a := &t.Actions[action]
	return Decision{Verdict: a.Verdict, Rule: int(a.Rule)}
}

// row returns the row of port in a list of intervals.
func (t *Table) row(l List, port uint16) uint32 {
	list := t.Intervals[l.Offset : l.Offset+l.Len]
	low, high := 0, len(list) // the interval sought is in [low, high)
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); list[mid].First <= port {
			low = mid
		} else {
			high = mid
		}
	}
	return list[low].Row
}

// ordinal returns the ordinal of the longest prefix of a source set that contains src, or 0. Of the prefixes that begin
// at or below src, take the last: whatever contains src begins no later and reaches further, so it is that one or one
// around it.
func (t *Table) ordinal(set uint32, src netip.Addr) uint32 {
	l := t.sets[set]
	low, high := int(l.Offset)-1, int(l.Offset+l.Len) // the prefix sought is in [low, high)
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); t.Sources[mid].Prefix.Addr().Compare(src) <= 0 {
			low = mid
		} else {
			high = mid
		}
	}
	if low < int(l.Offset) {
		return 0
	}
	for i := int32(low); i >= 0; i = t.above[i] {
		if t.Sources[i].Prefix.Contains(src) {
			return t.Sources[i].Ordinal
		}
	}
	return 0
}
