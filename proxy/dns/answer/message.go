package answer

import (
	"encoding/binary"

	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// Sections of a message (RFC 1035 section 4.1).
const (
	answers = iota
	authority
	additional
	sections
)

// message is a response under construction.
type message struct {
	out      []byte
	n        int // bytes written
	limit    int // bytes that may be written, what the OPT record needs taken off
	question int // where the question ends
	asked    bool
	counts   [sections]uint16
	flags    uint16 // AA and TC
	rcode    wire.Rcode
}

// begin starts a message with a question, which may be empty.
func (m *message) begin(out []byte, limit int, question []byte) {
	m.out, m.limit = out, min(limit, len(out))
	m.question = wire.HeaderLen + copy(out[wire.HeaderLen:], question)
	m.n = m.question
	m.asked = len(question) > 0
	m.counts = [sections]uint16{}
	m.flags, m.rcode = 0, wire.NoError
}

// truncate empties the sections and tells the client to ask by TCP.
func (m *message) truncate() {
	m.n = m.question
	m.counts = [sections]uint16{}
	m.flags |= wire.TC
}

// header writes the header; flags are those that the query lends.
func (m *message) header(id, flags uint16) {
	h := wire.Header{
		Flags: flags | m.flags, Rcode: m.rcode,
		Answers: m.counts[answers], Authority: m.counts[authority], Additional: m.counts[additional],
	}
	if m.asked {
		h.Questions = 1
	}
	h.Put(m.out, id)
}

// room reports whether n more bytes fit.
func (m *message) room(n int) bool { return m.n+n <= m.limit }

// place writes an RRset to a section, owned by the last ownerLen bytes of the name that the path has come to. It
// returns false, having written nothing, if the RRset does not fit.
func (r *Responder) place(section int, s *zone.RRset, ownerLen int) bool {
	m := &r.msg
	if !m.room(len(s.Wire)) {
		return false
	}
	start := m.n
	m.n += copy(m.out[start:], s.Wire)
	m.counts[section] += uint16(s.Count)
	asPacked := r.path.direct() && start == s.Start() && ownerLen == s.Owner
	if !asPacked {
		r.move(s, start, ownerLen)
	}
	return true
}

// move makes the pointers of an RRset right for the place where it now stands.
func (r *Responder) move(s *zone.RRset, start, ownerLen int) {
	out := r.msg.out
	setOwners(out[start:r.msg.n], s.Count, r.path.suffix(ownerLen))
	for _, at := range s.Pointers() {
		p := out[start+int(at):]
		wire.PutPointer(p, r.moved(s, start, wire.Pointer(p)))
	}
}

// setOwners points the owners of n records to offset.
func setOwners(records []byte, n, offset int) {
	p := 0
	for range n {
		wire.PutPointer(records[p:], offset)
		p += rdataAt + int(binary.BigEndian.Uint16(records[p+rdataAt-2:]))
	}
}

// rdataAt is where the data of a record starts whose owner is a pointer.
const rdataAt = 2 + wire.RecordLen
