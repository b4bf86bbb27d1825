package udp

import (
	"bytes"

	"golang.org/x/sys/unix"

	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// icmpPerTick bounds the errors that are acted upon, 1,000 a second, which is what the kernel allows itself to send
// (icmp_msgs_per_sec, Documentation/networking/ip-sysctl.rst). A flow that one of them ends keeps its NAT port for the
// quarantine, so no more than 2,000 ports rest because of them.
const icmpPerTick = 250

// icmpBudget counts the errors that were acted upon in a tick.
type icmpBudget struct {
	tick  tick
	spent int
}

// spend takes one error's worth, and reports false if there is none left in this tick.
func (b *icmpBudget) spend(now tick) bool {
	if b.tick != now {
		*b = icmpBudget{tick: now}
	}
	b.spent++
	return b.spent <= icmpPerTick
}

// fromICMP acts on the ICMP errors that wait, a batch of them.
func (w *worker) fromICMP() {
	for range batchSize {
		e, ok := w.icmp.Recv()
		if !ok {
			return
		}
		w.upstreamError(&e)
	}
}

// upstreamError acts on an error about a datagram that may have been sent to an upstream: it tells the flow's client,
// and ends the flow unless only this datagram was too big. The kernel has noted the path's MTU before, and cuts what
// follows. Errors about what others on this host have sent come here too, and are nobody's.
func (w *worker) upstreamError(e *sock.ICMPError) {
	id := w.flows.findNAT(&e.Src)
	switch {
	case id == noFlow:
		if !w.clientError(e) && w.flows.place(&e.Src) != noFlow {
			w.countICMP(stats.ICMPStray)
		}
		return
	case !w.isUpstream(id, &e.Dst):
		w.countICMP(stats.ICMPStray)
		return
	case !w.icmpBudget.spend(w.now):
		w.countICMP(stats.ICMPLimited)
		return
	}
	w.relayError(id, e)
	member := w.flows.targets.list[w.flows.flows[id].target].key.member
	switch e.Kind {
	case sock.ICMPTooBig:
		w.countICMP(stats.ICMPTooBig)
	case sock.ICMPPortUnreachable:
		w.countICMP(stats.ICMPRefused)
		member.Failed(unix.ECONNREFUSED)
		w.endFlow(id, stats.UpstreamRefused)
	default:
		w.countICMP(stats.ICMPUnreachable)
		member.Failed(unix.EHOSTUNREACH)
		w.endFlow(id, stats.UpstreamUnreachable)
	}
}

// relayError tells a flow's client of an error, as one about the client's own datagram. It comes from the original
// destination, whichever router has sent it: what lies behind the proxy, and of which family it is, is not the client's
// business, and its firewall lets the destination's errors in.
func (w *worker) relayError(id flowID, e *sock.ICMPError) {
	f := &w.flows.flows[id]
	kind := w.flows.targets.list[f.target].key.route.ProxyProtocol
	var room [clientHeaderBytes]byte
	head := appendClientHeader(room[:0], kind, &f.key)
	if kind == conf.ProxyV2First && !bytes.HasPrefix(e.Payload, head) {
		head = nil
	}
	told := *e
	told.Readdress(&f.key.client, &f.key.dst, head, nil)
	w.tell(&told)
}

// tell sends an error to whoever has sent the datagram that it is about.
func (w *worker) tell(e *sock.ICMPError) {
	if err := w.icmp.Send(e); err != nil {
		w.complain("send ICMP error", err)
	}
}

func (w *worker) countICMP(what stats.ICMP) { w.registry.Drops[w.number].ICMP[what].Add(1) }
