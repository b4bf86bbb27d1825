package rule

import "net/netip"

// flattener turns the nodes of one address family into lists of intervals.
type flattener struct {
	set      *Set
	tree     *tree
	chains   *chains
	sweep    *sweep
	overlay  *overlay
	resolver *resolver
	out      *output
	rows     [][2]uint32 // by chain: its row + 1 at a sealed and at an open node, or 0
	layers   map[layerKey]*layer
	claims   []claim
	list     []Interval
	path     []frame // the nodes around the one at hand, outermost first; path[0] is the root
}

// layerKey is what a layer is made of. It is kept for rules of many prefixes only, where it recurs.
type layerKey struct {
	protocol Protocol
	own      List // of flattener.chains.groups
	below    *layer
}

// frame is a node and what became of it.
type frame struct {
	node     int32 // -1: the root
	tcp, udp *layer
	lists    Node
}

func newFlattener(set *Set, t *tree, src *sources, out *output) *flattener {
	c := newChains(len(set.Rules), src, out.budget)
	return &flattener{
		set: set, tree: t, chains: c, out: out,
		sweep:    newSweep(c),
		overlay:  &overlay{chains: c},
		resolver: newResolver(c, out),
		layers:   make(map[layerKey]*layer),
	}
}

// run appends the nodes of one family, which are tree.nodes[begin:end], to nodes.
func (f *flattener) run(root *treeNode, begin, end int, nodes []Node) []Node {
	bare := &layer{segments: []segment{{first: 1, chain: noRule}}}
	f.path = append(f.path, f.frame(-1, root, frame{tcp: bare, udp: bare}))
	for i := begin; i < end && f.out.budget.over == nil; i++ {
		n := &f.tree.nodes[i]
		for f.path[len(f.path)-1].node != n.parent {
			f.path = f.path[:len(f.path)-1]
		}
		around := f.path[len(f.path)-1]
		next := f.frame(int32(i), n, around)
		next.lists = Node{Prefix: n.prefix, TCP: f.emit(next.tcp, n.open), UDP: f.emit(next.udp, n.open)}
		if next.lists.TCP != around.lists.TCP || next.lists.UDP != around.lists.UDP { // a root has no lists
			nodes = append(nodes, next.lists)
		}
		f.path = append(f.path, next)
	}
	return nodes
}

// frame lays a node's own rules on the layers of the node around it.
func (f *flattener) frame(i int32, n *treeNode, around frame) frame {
	next := frame{node: i, tcp: around.tcp, udp: around.udp}
	own := f.tree.own(n)
	if len(own) == 0 {
		return next
	}
	next.tcp = f.layer(own, TCP, around.tcp)
	if around.tcp == around.udp && f.neutral(own) {
		next.udp = next.tcp
	} else {
		next.udp = f.layer(own, UDP, around.udp)
	}
	return next
}

// neutral reports whether all rules are for both protocols.
func (f *flattener) neutral(rules []int32) bool {
	for _, i := range rules {
		if f.set.Rules[i].Protocol != Both {
			return false
		}
	}
	return true
}

// layer returns what rules make of the layer below for packets of p.
func (f *flattener) layer(rules []int32, p Protocol, below *layer) *layer {
	f.claims = claims(f.claims[:0], f.set, rules, p)
	if len(f.claims) == 0 {
		return below
	}
	if !f.recur(rules) {
		return f.overlay.build(f.sweep, f.claims, below)
	}
	key := layerKey{p, f.chains.group(rules), below}
	l, ok := f.layers[key]
	if !ok {
		l = f.overlay.build(f.sweep, f.claims, below)
		f.layers[key] = l
	}
	return l
}

// recur reports whether all rules have more than one prefix, so that they may well meet again at another one.
func (f *flattener) recur(rules []int32) bool {
	for _, i := range rules {
		if len(f.set.Rules[i].Prefixes) < 2 {
			return false
		}
	}
	return true
}

// emit returns the list of intervals for a layer at a sealed or an open node.
func (f *flattener) emit(l *layer, open bool) List {
	kind := 0
	if open {
		kind = 1
	}
	if l.lists[kind].Len > 0 {
		return l.lists[kind]
	}
	f.list = append(f.list[:0], Interval{First: 0, Row: refusal})
	for _, s := range l.segments {
		if f.out.budget.over != nil {
			break
		}
		if row := f.row(s.chain, kind); row != f.list[len(f.list)-1].Row {
			f.list = append(f.list, Interval{First: s.first, Row: row})
		}
	}
	l.lists[kind], _ = f.out.intervals.add(f.list)
	return l.lists[kind]
}

// row returns the row of a chain, resolved once.
func (f *flattener) row(chain uint32, kind int) uint32 {
	for len(f.rows) < len(f.chains.cells) {
		f.rows = append(f.rows, [2]uint32{})
	}
	known := &f.rows[chain][kind]
	if *known == 0 {
		*known = f.resolver.row(chain, kind == 1) + 1
	}
	return *known - 1
}

// families are the prefixes that hold every address of each family.
var families = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
