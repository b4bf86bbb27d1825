package dns

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/wire"
)

// Times on a TCP connection.
const (
	crowdedIdle  = time.Second      // the wait for a query when most places are taken (RFC 7766 section 6.2.3)
	writeTimeout = 10 * time.Second // for a client that does not read its responses
)

// lengthSize is the length in front of every message (RFC 1035 section 4.2.2).
const lengthSize = 2

// queryRoom is what a connection reserves for queries; one that is longer makes it grow.
const queryRoom = 2048

// stream is one TCP connection. Queries are answered in order, as many as have arrived with one write (RFC 7766
// sections 6.2.1.1 and 7 ask that no query wait for another one's answer: ours never take time).
type stream struct {
	*Server
	conn       *net.TCPConn
	client     netip.AddrPort
	local      netip.AddrPort // the address that was asked
	transport  Transport
	counts     *shard
	in         []byte
	start, end int // of what was read and is not answered yet, in in
}

// writer is what is needed only while queries are answered. It belongs to the stream that took it from the server's
// pool until that puts it back, before it waits again.
type writer struct {
	responder *answer.Responder
	out       [2 * (lengthSize + wire.MaxMessage)]byte
	n         int // bytes of out to be written
}

func (s *Server) newWriter() any { return &writer{responder: answer.NewResponder(&s.config)} }

// serveStream answers on a connection until the client or the server is done with it.
func (s *Server) serveStream(conn *net.TCPConn) {
	defer s.streams.remove(conn)
	defer conn.Close()
	t := &stream{
		Server: s, conn: conn, client: unmapped(conn.RemoteAddr()), local: unmapped(conn.LocalAddr()),
		transport: TCP6, counts: s.stats.tcp(), in: make([]byte, queryRoom),
	}
	if t.client.Addr().Is4() {
		t.transport = TCP4
	}
	for t.await() {
		if !t.answerAll() {
			return
		}
	}
}

// unmapped returns an address of the connection; an AF_INET6 socket shows those of IPv4 as mapped.
func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// await reads until there is a whole query, and reports whether there is one. The client has the idle timeout for all
// of it, not for each byte.
func (t *stream) await() bool {
	idle := t.options.TCPIdle
	if t.streams.crowded() && (idle < 0 || idle > crowdedIdle) {
		idle = crowdedIdle
	}
	if !t.streams.patience(t.conn, max(idle, 0)) {
		return false
	}
	for {
		if t.query() != nil {
			return true
		}
		t.makeRoom()
		n, err := t.conn.Read(t.in[t.end:])
		t.end += n
		if err != nil && n == 0 {
			return false
		}
	}
}

// query returns the next query if all of it is there, with its length in front.
func (t *stream) query() []byte {
	have := t.in[t.start:t.end]
	if len(have) < lengthSize {
		return nil
	}
	size := lengthSize + int(binary.BigEndian.Uint16(have))
	if len(have) < size {
		return nil
	}
	return have[:size]
}

// makeRoom moves the beginning of a query to the front, and grows the buffer if the query is longer.
func (t *stream) makeRoom() {
	have := t.in[t.start:t.end]
	need := queryRoom
	if len(have) >= lengthSize {
		need = max(need, lengthSize+int(binary.BigEndian.Uint16(have)))
	}
	if need > len(t.in) {
		grown := make([]byte, need)
		copy(grown, have)
		t.in = grown
	} else {
		copy(t.in, have)
	}
	t.start, t.end = 0, len(have)
}

// answerAll answers the queries that are there, and reports whether the connection may go on. A message that deserves
// no response ends it: nothing after it can be trusted to be a message.
func (t *stream) answerAll() bool {
	w := t.writers.Get().(*writer)
	defer t.writers.Put(w)
	w.n = 0
	began, queries := time.Now(), 0
	for q := t.query(); q != nil; q = t.query() {
		t.start += len(q)
		queries++
		if !t.answer(w, q[lengthSize:], began) {
			t.flush(w)
			return false
		}
		if w.n > len(w.out)/2 && !t.flush(w) {
			return false
		}
	}
	t.counts.latency.add(time.Since(began), queries)
	return t.flush(w)
}

// answer appends the response to one query.
func (t *stream) answer(w *writer, query []byte, now time.Time) bool {
	out := w.out[w.n:]
	res := w.responder.Answer(answer.Request{
		Packet: query, Client: t.client.Addr(), TCP: true, Now: uint32(now.Unix()), Zones: t.zones.Load(),
	}, out[lengthSize:][:wire.MaxMessage])
	t.counts.count(t.transport, &res)
	if res.Size == 0 {
		return false
	}
	if t.log.due(&t.counts.sampled) {
		t.log.offer(record(now, t.transport, t.client, t.local, w.responder.Query(), &res))
	}
	binary.BigEndian.PutUint16(out, uint16(res.Size))
	w.n += lengthSize + res.Size
	return true
}

func (t *stream) flush(w *writer) bool {
	_ = t.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := t.conn.Write(w.out[:w.n])
	w.n = 0
	return err == nil
}
