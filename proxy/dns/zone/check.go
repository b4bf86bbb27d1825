package zone

import "anyport/proxy/dns/wire"

// tally is what a name owns, as far as the rules below ask.
type tally struct {
	cname, dname, soa, ns int
	other                 int // neither CNAME nor what may stand beside it
	last                  [2]*record
}

const (
	lastCNAME = iota
	lastDNAME
)

func (t *tally) count(r *record) {
	switch r.kind {
	case wire.TypeCNAME:
		t.cname++
		t.last[lastCNAME] = r
		return
	case wire.TypeRRSIG, wire.TypeNSEC, wire.TypeKEY: // RFC 4034 section 3, RFC 4035 section 2.5, RFC 3007 section 4.3
		return
	case wire.TypeDNAME:
		t.dname++
		t.last[lastDNAME] = r
	case wire.TypeSOA:
		t.soa++
	case wire.TypeNS:
		t.ns++
	}
	t.other++
}

// check finds what no zone may contain, drops duplicate records, and warns of what is surely not meant.
func (b *builder) check() {
	for i := range b.chains {
		n := number(i)
		b.dropDuplicates(n)
		var t tally
		b.each(n, func(r *record) {
			if !r.dead {
				t.count(r)
			}
		})
		b.checkName(n, &t)
	}
}

func (b *builder) checkName(n number, t *tally) {
	name := wire.Text
	switch {
	case t.cname > 1:
		b.faults.add(b.src.fault(t.last[lastCNAME].at(), "%s has more than one CNAME record (RFC 2181 section 10.1)",
			name(b.name(n))))
	case t.cname == 1 && t.other > 0:
		b.faults.add(b.src.fault(t.last[lastCNAME].at(), "%s has a CNAME record and others (RFC 2181 section 10.1)",
			name(b.name(n))))
	case t.dname > 1:
		b.faults.add(b.src.fault(t.last[lastDNAME].at(), "%s has more than one DNAME record (RFC 6672 section 2.4)",
			name(b.name(n))))
	case t.soa > 1:
		b.faults.add(Fault{File: b.src.names[0], Text: name(b.name(n)) + " has more than one SOA record"})
	case n == b.apex && t.ns == 0:
		b.warns = append(b.warns, Fault{File: b.src.names[0], Text: name(b.name(n)) + " has no NS records"})
	}
}

// dropDuplicates marks records that repeat an earlier one of the same type (RFC 2181 section 5).
func (b *builder) dropDuplicates(n number) {
	const few = 8
	if b.chains[n].count > few {
		b.dropAmongMany(n)
		return
	}
	b.each(n, func(r *record) {
		b.each(n, func(earlier *record) {
			if earlier.data < r.data && b.same(earlier, r) {
				r.dead = true
			}
		})
	})
}

func (b *builder) same(x, y *record) bool {
	return x.kind == y.kind && string(b.rdata(x)) == string(b.rdata(y))
}

func (b *builder) dropAmongMany(n number) {
	type key struct {
		kind uint16
		data string
	}
	seen := make(map[key]bool, b.chains[n].count)
	b.each(n, func(r *record) {
		k := key{r.kind, string(b.rdata(r))}
		r.dead = seen[k]
		seen[k] = true
	})
}
