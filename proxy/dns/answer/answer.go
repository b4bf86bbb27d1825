// Package answer turns a query packet into a response packet, by the algorithm of RFC 1034 section 4.3.2 over compiled
// zones. It allocates nothing and unpacks nothing: an answer is an RRset that was packed when its zone was loaded,
// copied behind the question, and the little that depends on the query is patched.
//
// Rooms, in the order a query passes them:
//
//	answer.go      what is answered at all: opcodes, classes, meta types; response header
//	edns.go        EDNS (RFC 6891), NSID (RFC 5001), cookies (RFC 7873)
//	chaos.go       version.bind and its like (RFC 4892)
//	resolve.go     exact matches, wildcards (RFC 4592), ANY (RFC 8482)
//	alias.go       CNAME chains, loops
//	dname.go       DNAME (RFC 6672)
//	referral.go    delegations (RFC 1034), glue (RFC 9471)
//	negative.go    NXDOMAIN and NODATA (RFC 2308)
//	additional.go  addresses for NS, MX and SRV
//	message.go     the response under construction: sections, limits, truncation (RFC 2181 section 9)
//	anchor.go      where names lie in it, and moving compression pointers
//
// Records of signed zones (RRSIG, NSEC and so on) are answered when asked for by type, as plain data. Proofs would be
// added where resolve.go, negative.go and referral.go place an RRset.
package answer

import (
	"net/netip"

	"anyport/proxy/dns/cookie"
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// Config is what all responders of a server share. It is not changed while they work.
type Config struct {
	UDPSize uint16      // the largest UDP response sent, and the size that OPT records offer; at least wire.MinUDP
	NSID    []byte      // nil: queries for it get none
	Chaos   *Chaos      // nil: class CH is refused
	Cookies *cookie.Jar // nil: cookie options are ignored
}

// Request is a packet and where it came from.
type Request struct {
	Packet []byte
	Client netip.Addr
	TCP    bool
	Now    uint32 // seconds since 1970, for cookies
	Zones  *zone.Zones
}

// Outcome says what kind of response it is: what a client that repeats itself would get again.
type Outcome uint8

const (
	Silence   Outcome = iota // no response at all
	Positive                 // records of the name asked for
	NoData                   // the name exists, the type does not
	NoName                   // NXDOMAIN
	Delegated                // a referral
	Error                    // any other response code
	NumOutcomes
)

// Result describes a response.
type Result struct {
	Size      int // of the response in bytes; 0 if there is to be none
	Outcome   Outcome
	Rcode     wire.Rcode
	Truncated bool
	Trusted   bool   // the client proved its address, by TCP or by a cookie
	Type      uint16 // of the question; 0 without one
	Class     uint16

	// Name is what the response is about, for rate limiting: the name asked for, the wildcard that spoke for it, the
	// zone of a name that does not exist, the delegation; nil for an error. It is valid until the next Answer.
	Name []byte
}

// Responder answers one query at a time. Each worker has its own.
type Responder struct {
	cfg     *Config
	q       wire.Query
	opt     wire.OPT
	withOPT bool
	msg     message
	path    path
	req     Request
	res     Result

	cookie [cookie.Len]byte
}

// NewResponder returns a responder.
func NewResponder(cfg *Config) *Responder { return &Responder{cfg: cfg} }

// Answer writes the response to a request into out, which has room for Config.UDPSize bytes, or wire.MaxMessage for
// TCP. It is never longer than the client said it takes.
func (r *Responder) Answer(req Request, out []byte) Result {
	r.req = req
	r.res = Result{Trusted: req.TCP}
	switch r.q.Parse(req.Packet) {
	case wire.Silent:
		return r.res
	case wire.Reject:
		r.begin(out)
		r.fail(r.q.Rcode)
	default:
		r.begin(out)
		r.res.Type, r.res.Class, r.res.Name = r.q.Type, r.q.Class, r.q.Name.Wire()
		if r.edns() {
			r.question()
		}
	}
	res := r.finish()
	r.forget()
	return res
}

// forget drops what refers to zones, so that a responder that waits does not keep them when others are in force.
func (r *Responder) forget() {
	r.req, r.res.Name = Request{}, nil
	r.path.forget()
}

// Query returns the query that the last Answer parsed, for logs; valid until the next one.
func (r *Responder) Query() *wire.Query { return &r.q }

// begin starts a response with the question as it came: its name's case is the client's check against forgery.
func (r *Responder) begin(out []byte) {
	r.opt, r.withOPT = wire.OPT{}, false
	r.msg.begin(out, r.limit(), r.q.Question)
	r.path.begin(&r.q.Name)
}

// fail makes the response one of an error.
func (r *Responder) fail(code wire.Rcode) {
	r.msg.rcode = code
	r.res.Outcome, r.res.Name = Error, nil
}

// question answers by class and type. A query without a question asks for a cookie alone (RFC 7873 section 5.4).
func (r *Responder) question() {
	if len(r.q.Question) == 0 {
		if r.opt.Cookie == nil {
			r.fail(wire.FormErr)
		}
		return
	}
	switch r.q.Class {
	case wire.ClassIN:
	case wire.ClassCH:
		r.chaos()
		return
	default: // ANY too: no answer could be authoritative for all classes (RFC 1035 section 6.2)
		r.fail(wire.Refused)
		return
	}
	switch r.q.Type {
	case wire.TypeOPT, wire.TypeTKEY, wire.TypeTSIG, wire.TypeNXNAME:
		r.fail(wire.FormErr) // none is a type of data (RFC 6895 section 3.1, RFC 9824 section 3.5)
	case wire.TypeAXFR, wire.TypeIXFR: // transfers are not offered (RFC 5936 section 2.2.1)
		r.fail(wire.Refused)
	case wire.TypeMAILA, wire.TypeMAILB: // obsolete (RFC 1035 section 3.2.3)
		r.fail(wire.NotImp)
	default:
		r.resolve()
	}
}

// finish completes the response. With a truncated message the sections are empty already.
func (r *Responder) finish() Result {
	m := &r.msg
	if r.withOPT {
		r.opt.Rcode = m.rcode
		r.opt.Put(m.out[m.n:])
		m.n += r.opt.Len()
		m.counts[additional]++
	}
	m.header(r.q.ID, r.q.Flags)
	r.res.Size, r.res.Rcode, r.res.Truncated = m.n, m.rcode, m.flags&wire.TC != 0
	return r.res
}

// Truncate replaces the response that Answer wrote by one that sends the client to TCP.
func (r *Responder) Truncate() Result {
	r.msg.truncate()
	return r.finish()
}
