package bench

import (
	"bytes"
	"encoding/binary"
)

// check reports whether a response, whose ID has been checked, is the right answer: header, question, number of
// records, and the data of the last answer or the type of the first authority record.
func (q *dnsQuery) check(msg []byte) bool {
	const headerLen, mustBe, truncated, authoritative = 12, 0x80, 0x02, 0x04
	if len(msg) < headerLen+len(q.question) || msg[2]&(0xF8|truncated) != mustBe || msg[3]&0x0F != q.rcode {
		return false
	}
	if (msg[2]&authoritative != 0) != q.authoritative || int(binary.BigEndian.Uint16(msg[6:])) != q.answers {
		return false
	}
	p := headerLen + len(q.question)
	if !bytes.Equal(msg[headerLen:p], q.question) {
		return false
	}
	if q.answers == 0 {
		kind, _, _ := nextRecord(msg, p)
		return binary.BigEndian.Uint16(msg[8:]) > 0 && kind == q.authority
	}
	var data []byte
	for range q.answers {
		_, data, p = nextRecord(msg, p)
	}
	return bytes.Equal(data, q.data)
}

// nextRecord returns the type and the data of the record at p, and where it ends; type 0 if it is cut off.
func nextRecord(msg []byte, p int) (kind int, data []byte, end int) {
	for p < len(msg) && msg[p] != 0 && msg[p] < 0xC0 {
		p += 1 + int(msg[p])
	}
	if p >= len(msg) {
		return 0, nil, len(msg)
	}
	if msg[p] != 0 {
		p++ // a pointer has two bytes
	}
	const fixed = 10
	body := p + 1
	if body+fixed > len(msg) {
		return 0, nil, len(msg)
	}
	end = body + fixed + int(binary.BigEndian.Uint16(msg[body+8:]))
	if end > len(msg) {
		return 0, nil, len(msg)
	}
	return int(binary.BigEndian.Uint16(msg[body:])), msg[body+fixed : end], end
}
