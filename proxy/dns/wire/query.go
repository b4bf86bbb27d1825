package wire

import "encoding/binary"

// Verdict says what a packet deserves.
type Verdict uint8

const (
	Answer Verdict = iota // a query: Query's fields are filled
	Reject                // a header with Query.Rcode, no question
	Silent                // nothing: too short for a header, or itself a response
)

// Query is what a packet asks. Parse fills it; slices in it point into the packet.
type Query struct {
	ID       uint16
	Flags    uint16 // of a response: the opcode, RD and CD as in the query, and QR
	Rcode    Rcode  // for Reject
	Name     Name
	Type     uint16
	Class    uint16
	Question []byte // as it came, its name's case included; empty if the query has none
	EDNS     EDNS
}

// Parse reads a packet. It takes exactly one question (RFC 9619), or none with a cookie (RFC 7873 section 5.4), no
// answer records, no authority records but the SOA of an IXFR (RFC 1995 section 3), any additional records of which
// only OPT counts, and nothing behind the last one. The question's name must not be compressed. A packet of another
// opcode is rejected unread, since its form is another.
func (q *Query) Parse(msg []byte) Verdict {
	if len(msg) < HeaderLen {
		return Silent
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&QR != 0 {
		return Silent
	}
	q.ID = binary.BigEndian.Uint16(msg)
	q.Flags = flags&copied | QR
	q.Question = nil
	q.EDNS = EDNS{}
	if flags&opcodeMask != OpcodeQuery {
		return q.reject(NotImp)
	}
	if !q.sections(msg) || q.Question == nil && q.EDNS.Cookie == nil {
		return q.reject(FormErr)
	}
	return Answer
}

func (q *Query) sections(msg []byte) bool {
	p, ok := q.question(msg)
	if !ok || binary.BigEndian.Uint16(msg[6:]) != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(msg[8:]) {
	case 0:
	case 1:
		var soa record
		if q.Type != TypeIXFR || !soa.parse(msg, p) {
			return false
		}
		p = soa.end
	default:
		return false
	}
	return q.additional(msg, p)
}

// reject asks for a response without a question.
func (q *Query) reject(r Rcode) Verdict {
	q.Question = nil
	q.Rcode = r
	return Reject
}

// question reads the question, if there is one, and returns the offset behind it.
func (q *Query) question(msg []byte) (end int, ok bool) {
	q.Type, q.Class = 0, 0
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		return HeaderLen, true
	case 1:
	default:
		return 0, false
	}
	end, ok = q.Name.Parse(msg, HeaderLen)
	if !ok || end+4 > len(msg) {
		return 0, false
	}
	q.Type = binary.BigEndian.Uint16(msg[end:])
	q.Class = binary.BigEndian.Uint16(msg[end+2:])
	q.Question = msg[HeaderLen : end+4]
	return end + 4, true
}

// additional reads the records from p on and reports whether they are well formed and end with the packet.
func (q *Query) additional(msg []byte, p int) bool {
	for n := binary.BigEndian.Uint16(msg[10:]); n > 0; n-- {
		var r record
		if !r.parse(msg, p) {
			return false
		}
		if binary.BigEndian.Uint16(msg[r.body:]) == TypeOPT {
			atRoot := r.body == p+1
			if !atRoot || q.EDNS.Present || !q.EDNS.parse(msg[r.body:r.data], msg[r.data:r.end]) {
				return false
			}
		}
		p = r.end
	}
	return p == len(msg)
}

// record is where the parts of a resource record lie: its type and what follows, its data, its end.
type record struct{ body, data, end int }

// parse finds the parts of the record at msg[p:], or returns false if it does not fit into msg.
func (r *record) parse(msg []byte, p int) (ok bool) {
	if r.body, ok = skipName(msg, p); !ok {
		return false
	}
	if r.data = r.body + RecordLen; r.data > len(msg) {
		return false
	}
	r.end = r.data + int(binary.BigEndian.Uint16(msg[r.data-2:]))
	return r.end <= len(msg)
}

// skipName returns the offset behind a name that may be compressed.
func skipName(msg []byte, p int) (end int, ok bool) {
	for first := p; p < len(msg) && p-first < MaxName; {
		l := msg[p]
		switch {
		case l == 0:
			return p + 1, true
		case IsPointer(l):
			return p + 2, p+2 <= len(msg)
		case l > MaxLabel:
			return 0, false
		}
		p += 1 + int(l)
	}
	return 0, false
}
