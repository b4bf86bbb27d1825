package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/ratelimit"
	"anyport/proxy/dns/zone"
	"anyport/proxy/sock"
)

// udpWorker answers over UDP. All workers share one socket.
type udpWorker struct {
	*Server
	batch     *batch
	responder *answer.Responder
	counts    *shard
	raw       *sock.RawUDP // for queries to other ports than the socket's own; nil until one is needed
	zones     *zone.Zones  // in force for the batch at hand, nil between batches
	now       time.Time
}

func newUDPWorker(s *Server, counts *shard) *udpWorker {
	return &udpWorker{
		Server: s, batch: newBatch(s.udp, s.options.UDPSize), responder: answer.NewResponder(&s.config), counts: counts,
	}
}

// serve answers until the socket is shut down and empty.
func (w *udpWorker) serve() error {
	for !w.cut.Load() {
		n, err := w.batch.receive()
		switch {
		case err == nil && n == 0:
			return nil
		case err == nil:
			w.round(n)
		case !passing(err):
			return fmt.Errorf("receive over UDP: %w", err)
		case !w.sleep(minAcceptPause):
			return nil
		}
	}
	return nil
}

// passing reports whether an error of recvmmsg(2) is one that passes: the kernel is out of memory, or tells of an error
// that an earlier reply ran into (ip(7), udp(7)).
func passing(err error) bool {
	for _, e := range []error{
		unix.ENOMEM, unix.ENOBUFS, unix.EAGAIN, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN,
		unix.EHOSTDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EMSGSIZE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// round answers the n packets of the batch.
func (w *udpWorker) round(n int) {
	w.now, w.zones = time.Now(), w.Server.zones.Load()
	for i := range n {
		w.answer(i)
	}
	if failed, err := w.batch.send(); failed > 0 {
		w.failed(failed, err)
	}
	if w.raw != nil {
		w.raw.Flush()
	}
	w.counts.latency.add(time.Since(w.now), n)
	w.zones = nil // a worker that waits must not keep zones that are no longer in force
}

// answer queues the response to packet i, if it deserves one.
func (w *udpWorker) answer(i int) {
	client := w.batch.client(i)
	to, ok := w.batch.destination(i)
	if !ok || client.Port == 0 { // a reply to port 0 cannot be sent
		w.counts.drop(DropAddress, 1)
		return
	}
	query, out := w.batch.query(i), w.batch.response(i)
	addr := netip.AddrFrom16(client.IP)
	res := w.responder.Answer(answer.Request{
		Packet: query, Client: addr, Now: uint32(w.now.Unix()), Zones: w.zones,
	}, out[:w.options.UDPSize])
	if res.Outcome != answer.Silence && !res.Trusted {
		res = w.limit(res, addr)
	}
	transport := UDP6
	if client.Is4() {
		transport = UDP4
	}
	w.counts.count(transport, &res)
	if res.Size == 0 {
		return
	}
	if w.log.due(&w.counts.sampled) {
		w.log.offer(record(w.now, transport, client.AddrPort(), to.AddrPort(), w.responder.Query(), &res))
	}
	if to.Port == w.port {
		w.batch.queue(i, res.Size, &to)
	} else {
		w.sendRaw(&to, &client, out[:res.Size])
	}
}

// limit holds a response back if there were too many like it.
func (w *udpWorker) limit(res answer.Result, client netip.Addr) answer.Result {
	key := ratelimit.Key{Client: client, Outcome: uint8(res.Outcome), Name: res.Name}
	if res.Outcome == answer.Positive {
		key.Type = res.Type
	}
	switch w.limiter.Check(key, w.now.Sub(w.stats.start)) {
	case ratelimit.Truncate:
		w.counts.slipped.Add(1)
		return w.responder.Truncate()
	case ratelimit.Drop:
		w.counts.drop(DropLimited, 1)
		res.Size = 0
	}
	return res
}

// sendRaw queues a response from a port that is not the socket's own.
func (w *udpWorker) sendRaw(from, to *sock.Addr, response []byte) {
	if w.raw == nil {
		if err := w.openRaw(); err != nil {
			w.failed(1, err)
			return
		}
	}
	w.raw.Queue(from, to, nil, response)
}

func (w *udpWorker) openRaw() (err error) {
	w.raw, err = sock.OpenRawUDP(batchSize, func(err error) { w.failed(1, err) })
	return err
}

// failed counts n responses that could not be sent.
func (w *udpWorker) failed(n int, err error) {
	w.counts.drop(DropSend, n)
	w.stats.warn(w.options.Logger, "a response could not be sent", err)
}

// close closes what the worker opened, once it serves no more.
func (w *udpWorker) close() {
	if w.raw != nil {
		w.raw.Close()
	}
}
