// Package zone turns zone files into compiled zones and finds names in them.
//
// A [Zone] is immutable and nearly free of pointers: a hash table over one slice of bytes, some 70 to 100 a record,
// that the garbage collector never walks. All that a response needs was decided when the zone was loaded: which names
// exist (empty non-terminals included, RFC 4592), which lie below a delegation or a DNAME, where the wildcards are,
// which addresses go along with an NS, MX or SRV record.
//
// An RRset's wire format is compressed as if it stood behind a question for its own name, which is how it is mostly
// sent: then it is copied as it is. Everywhere else (below a wildcard, behind a CNAME, in the authority section) the
// sender moves its compression pointers; [RRset] says how.
//
// Rooms, reading a zone: load.go reads a file (RFC 1035 section 5, by miekg/dns, which no other package of the project
// imports), line_reader.go and generate.go what the parser does not do, position.go and fault.go tell where something
// is wrong; build.go collects records under the names in index.go; compile.go finishes the zone with check.go, which
// judges it, cuts.go, which finds what hides what, and pack.go, pack_rrset.go, compress.go and target.go, which write
// it. Asking a zone: table.go, rrset.go and find.go. Many zones: zones.go; and keeper.go reloads them when stamp.go
// says that their files have changed.
package zone

import (
	"time"

	"anyport/proxy/dns/wire"
)

// Zone is one compiled zone. It is never changed, so it is safe for concurrent use.
type Zone struct {
	table
	details   []detail // of the RRsets that have compression pointers or targets; [0] is empty
	pointers  []uint16 // see RRset.Pointers
	targets   []Target
	apex      wire.Name
	authority RRset // the apex's NS records; the zero value if it has none
	negative  RRset // the SOA record with the TTL of a negative answer

	Serial   uint32        // of the SOA record
	Records  int           // without duplicates
	LoadTime time.Duration // from opening the file
	Warnings []Fault       // what is legal but surely not meant
}

// Apex returns the zone's name.
func (z *Zone) Apex() *wire.Name { return &z.apex }

// Authority returns the NS records of the apex, or the zero RRset if the zone has none.
func (z *Zone) Authority() RRset { return z.authority }

// Negative returns the SOA record as it stands in a negative answer: with the lesser of its own TTL and the one in its
// MINIMUM field (RFC 2308 section 3).
func (z *Zone) Negative() RRset { return z.negative }

// detail is what few RRsets have.
type detail struct {
	pointer, pointers uint32 // a range of Zone.pointers: first, number
	target, targets   uint32 // a range of Zone.targets: first, number
}

// Target is a name in an RRset's data whose addresses belong into the additional section of a response: of an NS, MX
// or SRV record, and only if the zone has them.
type Target struct {
	Node   Node   // the owner of the addresses: the name itself, or the wildcard that covers it
	Offset uint16 // of the name, in the coordinates of RRset.Pointers
	Glue   bool   // at or below the delegation that the RRset makes: the referral is useless without it (RFC 9471)
}
