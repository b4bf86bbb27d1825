package answer

import (
	"encoding/binary"

	"anyport/proxy/dns/wire"
)

// Chaos is what the server says of itself in class CH (RFC 4892): each a TXT record, or refused if empty.
type Chaos struct {
	version, hostname []byte // whole records, owner included
}

// NewChaos returns the answers to version.bind and version.server, and to hostname.bind and id.server. Of a text, the
// first 255 bytes are used.
func NewChaos(version, hostname string) *Chaos {
	return &Chaos{version: txtRecord(version), hostname: txtRecord(hostname)}
}

func txtRecord(text string) []byte {
	if text == "" {
		return nil
	}
	text = text[:min(len(text), 255)]
	b := make([]byte, rdataAt, rdataAt+1+len(text))
	wire.PutPointer(b, wire.HeaderLen)
	binary.BigEndian.PutUint16(b[2:], wire.TypeTXT)
	binary.BigEndian.PutUint16(b[4:], wire.ClassCH)
	binary.BigEndian.PutUint16(b[10:], uint16(1+len(text)))
	b = append(b, byte(len(text)))
	return append(b, text...)
}

// record returns the answer to a name, or nil.
func (c *Chaos) record(name []byte) []byte {
	switch string(name) {
	case "\x07version\x04bind\x00", "\x07version\x06server\x00":
		return c.version
	case "\x08hostname\x04bind\x00", "\x02id\x06server\x00":
		return c.hostname
	}
	return nil
}

func (r *Responder) chaos() {
	var record []byte
	if c := r.cfg.Chaos; c != nil && (r.q.Type == wire.TypeTXT || r.q.Type == wire.TypeANY) {
		record = c.record(r.q.Name.Wire())
	}
	switch {
	case record == nil:
		r.fail(wire.Refused)
	case !r.msg.room(len(record)):
		r.msg.truncate()
	default:
		r.msg.flags |= wire.AA
		r.msg.n += copy(r.msg.out[r.msg.n:], record)
		r.msg.counts[answers]++
		r.res.Outcome = Positive
	}
}
