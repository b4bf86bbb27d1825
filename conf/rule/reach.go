package rule

import "net/netip"

// reach says which entries of a table no packet can get to, because longer prefixes cover them whole: a /24 with a node
// for each of its two /25s, for instance.
type reach struct {
	nodes   []bool // by node: hidden
	sources []bool // by source: hidden
	others  []bool // by source set: hidden is ordinal 0 for sources that are in no prefix of the set
}

func newReach(t *Table) *reach {
	r := &reach{others: make([]bool, len(t.sets))}
	prefixes := make([]netip.Prefix, len(t.Nodes))
	for i := range t.Nodes {
		prefixes[i] = t.Nodes[i].Prefix
	}
	r.nodes = hidden(prefixes)
	for set, l := range t.sets {
		if l.Len == 0 {
			continue
		}
		list := t.Sources[l.Offset : l.Offset+l.Len]
		prefixes = append(prefixes[:0], everySource(list[0].Prefix.Addr()))
		for i := range list {
			prefixes = append(prefixes, list[i].Prefix)
		}
		h := hidden(prefixes)
		r.others[set] = h[0]
		r.sources = append(r.sources, h[1:]...)
	}
	return r
}

// hidden reports which of some sorted prefixes are covered whole by others inside them. It notes for each up to which
// address the prefixes directly inside it follow one another without a gap.
func hidden(prefixes []netip.Prefix) []bool {
	covered := make([]netip.Addr, len(prefixes)) // the first address that is not
	around := make([]int, 0, 128)
	for i, p := range prefixes {
		covered[i] = p.Addr()
		for len(around) > 0 && !encloses(prefixes[around[len(around)-1]], p) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 && covered[around[n-1]] == p.Addr() {
			covered[around[n-1]] = after(p)
		}
		around = append(around, i)
	}
	h := make([]bool, len(prefixes))
	for i, p := range prefixes {
		h[i] = covered[i] == after(p)
	}
	return h
}

// after returns the address that follows the last one of p, or the zero Addr after the last address of all.
func after(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last.Next()
}

// each calls visit with every action of a row that some source leads to, and the source prefix that does; the prefix of
// ordinal 0 is all.
func (r *reach) each(t *Table, row uint32, all netip.Prefix, visit func(*Action, netip.Prefix)) {
	base, set := t.Rows[row].Base, t.Rows[row].SourceSet
	if !r.others[set] {
		visit(&t.Actions[base], all)
	}
	l := t.sets[set]
	for i := l.Offset; i < l.Offset+l.Len; i++ {
		if !r.sources[i] {
			visit(&t.Actions[base+t.Sources[i].Ordinal], t.Sources[i].Prefix)
		}
	}
}

// NeverMatch returns the rules that no packet can lead to, because better ones leave nothing for them.
func (t *Table) NeverMatch() []int {
	r := newReach(t)
	matched := make([]bool, len(t.set.Rules))
	note := func(a *Action, _ netip.Prefix) {
		if a.Rule >= 0 {
			matched[a.Rule] = true
		}
	}
	rows := make([]bool, len(t.Rows))
	lists := make(map[List]bool)
	for i := range t.Nodes {
		for _, l := range [...]List{t.Nodes[i].TCP, t.Nodes[i].UDP} {
			if r.nodes[i] || lists[l] {
				continue
			}
			lists[l] = true
			for _, in := range t.Intervals[l.Offset : l.Offset+l.Len] {
				if !rows[in.Row] {
					rows[in.Row] = true
					r.each(t, in.Row, netip.Prefix{}, note)
				}
			}
		}
	}
	var never []int
	for i, m := range matched {
		if !m {
			never = append(never, i)
		}
	}
	return never
}
