package rule

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// Entry is a line of the effective table: a range of a rule that wins packets at a prefix, or the default.
type Entry struct {
	At        netip.Prefix // where; addresses in a longer At are not meant
	Match                  // of the rule there; the default's Prefix is the served one
	Rule      int          // index in Set.Rules, or Sealed or Open
	Verdict   Verdict
	Inherited bool // At is longer than the prefix that the rule, or the default, is written for
}

// Effective yields the table as a packet meets it: longest prefix first, and at a prefix the entries in order of
// precedence, so that the first one that matches wins. Entries that win no packet are left out, and so are prefixes at
// which nothing differs from the one around. A rule that many prefixes inherit comes once for each of them: the entries
// can be many more than the table has elements, which is why they are not a slice.
func (t *Table) Effective() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		e := newEffective(t)
		order := make([]int, len(t.Nodes))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return comparePlace(t.Nodes[i].Prefix, t.Nodes[j].Prefix) })
		for _, i := range order {
			if e.reach.nodes[i] {
				continue
			}
			for _, entry := range e.node(&t.Nodes[i]) {
				if !yield(entry) {
					return
				}
			}
		}
	}
}

// comparePlace orders IPv4 before IPv6 and longer prefixes before shorter ones.
func comparePlace(p, q netip.Prefix) int {
	return cmp.Or(cmp.Compare(p.Addr().BitLen(), q.Addr().BitLen()), cmp.Compare(q.Bits(), p.Bits()), p.Compare(q))
}

// effective collects the entries of one node after the other.
type effective struct {
	table   *Table
	reach   *reach
	served  bart.Lite
	wide    map[int32]*bart.Lite // the prefixes of a rule that has many
	entries []Entry              // of the node at hand, some more than once
}

// many is the number of a rule's prefixes from which on a trie is worth building.
const many = 8

func newEffective(t *Table) *effective {
	e := &effective{table: t, reach: newReach(t), wide: make(map[int32]*bart.Lite)}
	for _, p := range t.set.Prefixes {
		e.served.Insert(p.Prefix)
	}
	for i := range t.set.Rules {
		prefixes := t.set.Rules[i].Prefixes
		if len(prefixes) < many {
			continue
		}
		trie := new(bart.Lite)
		for _, p := range prefixes {
			trie.Insert(p)
		}
		e.wide[int32(i)] = trie
	}
	return e
}

// node returns the entries of one node, valid until the next call.
func (e *effective) node(n *Node) []Entry {
	e.entries = e.entries[:0]
	e.list(n.Prefix, n.TCP)
	if n.UDP != n.TCP {
		e.list(n.Prefix, n.UDP)
	}
	slices.SortFunc(e.entries, Entry.compare)
	return slices.Compact(e.entries)
}

// list appends the entries of one list of intervals.
func (e *effective) list(at netip.Prefix, l List) {
	t := e.table
	list := t.Intervals[l.Offset : l.Offset+l.Len]
	for i, in := range list {
		ports := PortRange{First: max(in.First, 1), Last: 65535}
		if i+1 < len(list) {
			ports.Last = list[i+1].First - 1
		}
		if ports.Last == 0 {
			continue // port 0 alone
		}
		e.reach.each(t, in.Row, everySource(at.Addr()), func(a *Action, source netip.Prefix) {
			e.action(at, ports, a, source)
		})
	}
}

// action appends the ranges of an action's rule that have ports in common with an interval.
func (e *effective) action(at netip.Prefix, ports PortRange, a *Action, source netip.Prefix) {
	entry := Entry{At: at, Rule: int(a.Rule), Verdict: a.Verdict}
	entry.Prefix, _ = e.served.LookupPrefixLPM(at)
	entry.Inherited = entry.Prefix != at
	if a.Rule < 0 {
		entry.Ports, entry.Source = everyPort[0], source
		e.entries = append(e.entries, entry)
		return
	}
	r := &e.table.set.Rules[a.Rule]
	entry.Protocol, entry.Source = r.Protocol, source
	if r.Prefixes == nil {
		entry.Prefix = netip.Prefix{}
	} else {
		entry.Prefix = e.prefix(a.Rule, at)
		entry.Inherited = entry.Prefix != at
	}
	ranges := r.ports()
	first, _ := slices.BinarySearchFunc(ranges, ports.First, func(r PortRange, port uint16) int {
		return cmp.Compare(r.Last, port)
	})
	for _, in := range ranges[first:] {
		if in.First > ports.Last {
			break
		}
		entry.Ports = in
		e.entries = append(e.entries, entry)
	}
}

// prefix returns the longest prefix of a rule that encloses at.
func (e *effective) prefix(rule int32, at netip.Prefix) netip.Prefix {
	if trie := e.wide[rule]; trie != nil {
		p, _ := trie.LookupPrefixLPM(at)
		return p
	}
	var best netip.Prefix
	for _, p := range e.table.set.Rules[rule].Prefixes {
		if encloses(p, at) && p.Bits() > best.Bits() {
			best = p
		}
	}
	return best
}

// compare orders the entries of one prefix: rules by precedence, then the default, and what ranks alike by port, source
// and rule.
func (e Entry) compare(f Entry) int {
	if (e.Rule < 0) != (f.Rule < 0) {
		return cmp.Compare(f.Rule, e.Rule)
	}
	return cmp.Or(e.Match.compare(f.Match), cmp.Compare(e.Ports.First, f.Ports.First),
		e.Source.Compare(f.Source), cmp.Compare(e.Rule, f.Rule))
}
