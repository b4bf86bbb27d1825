package upstream

import (
	"encoding/binary"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// leastTTL is the least TTL of the answers that a look-up gets. The zero value has seen none.
type leastTTL struct {
	mu      sync.Mutex // guards the fields below; a look-up asks for both families at once
	seconds uint32
	seen    bool
}

// get returns the least TTL so far, 0 if there was no answer.
func (l *leastTTL) get() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.seconds) * time.Second
}

// note takes the TTLs of a response, if it is one to the query and complete.
func (l *leastTTL) note(query, response []byte) {
	var asked, told dnsmessage.Parser
	q, err := asked.Start(query)
	if err != nil {
		return
	}
	r, err := told.Start(response)
	if err != nil || !r.Response || r.ID != q.ID || r.Truncated || r.RCode != dnsmessage.RCodeSuccess {
		return
	}
	if !sameQuestion(&asked, &told) || told.SkipAllQuestions() != nil {
		return
	}
	for {
		h, err := told.AnswerHeader()
		if err != nil || told.SkipAnswer() != nil {
			return // the end of the section, or a message that the resolver will not like either
		}
		l.noteTTL(h.TTL)
	}
}

// sameQuestion reports whether two messages begin with one question. Names differ in case where somebody plays with it.
func sameQuestion(a, b *dnsmessage.Parser) bool {
	p, errP := a.Question()
	q, errQ := b.Question()
	return errP == nil && errQ == nil && p.Type == q.Type && p.Class == q.Class &&
		strings.EqualFold(p.Name.String(), q.Name.String())
}

// noteTTL takes one TTL; with the highest bit set it is 0 (RFC 2181, section 8).
func (l *leastTTL) noteTTL(seconds uint32) {
	if seconds > math.MaxInt32 {
		seconds = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.seen || seconds < l.seconds {
		l.seconds, l.seen = seconds, true
	}
}

// watch returns a connection to a DNS server that is c, except that l sees the messages. Go's resolver sends one query
// on a connection, and takes a net.PacketConn for one of datagrams.
func (l *leastTTL) watch(c net.Conn) net.Conn {
	if packets, ok := c.(net.PacketConn); ok {
		return &datagramWatch{Conn: c, packets: packets, ttl: l}
	}
	return &streamWatch{Conn: c, ttl: l}
}

// datagramWatch is a connection on which each read and write is a message.
type datagramWatch struct {
	net.Conn
	packets net.PacketConn
	ttl     *leastTTL
	query   []byte
}

func (w *datagramWatch) Write(b []byte) (int, error) {
	w.query = append(w.query[:0], b...)
	return w.Conn.Write(b)
}

func (w *datagramWatch) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.ttl.note(w.query, b[:n])
	return n, err
}

func (w *datagramWatch) ReadFrom(b []byte) (int, net.Addr, error)   { return w.packets.ReadFrom(b) }
func (w *datagramWatch) WriteTo(b []byte, to net.Addr) (int, error) { return w.packets.WriteTo(b, to) }

// streamWatch is a connection on which each message comes behind its length in two bytes (RFC 1035, section 4.2.2).
type streamWatch struct {
	net.Conn
	ttl      *leastTTL
	query    []byte // with its length
	response []byte // what has been read of it
}

func (w *streamWatch) Write(b []byte) (int, error) {
	w.query = append(w.query, b...)
	return w.Conn.Write(b)
}

func (w *streamWatch) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.response = append(w.response, b[:n]...)
	if len(w.query) > 2 && len(w.response) > 2 && len(w.response) == 2+int(binary.BigEndian.Uint16(w.response)) {
		w.ttl.note(w.query[2:], w.response[2:])
	}
	return n, err
}
