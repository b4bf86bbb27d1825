package conf

import (
	"fmt"

	"anyport/conf/rule"
)

// tcpKeys are the keys of a route that say nothing about UDP.
var tcpKeys = []string{"accept_proxy_from", "proxy_header_timeout", "connect_timeout", "half_close_timeout",
	"tcp_user_timeout", "tcp_keepalive", "mss", "max_connections", "connection_rate_per_source"}

// udpKeys are those that say nothing about TCP.
var udpKeys = []string{"max_flows", "max_datagram"}

// checkAction holds a route's action against the keys that only proxying uses.
func (d *decoder) checkAction(r Route, got reading) {
	switch {
	case !got.good("action", "upstream"):
	case r.Action == rule.Steer && len(r.Upstreams) == 0:
		d.fault(got.at("upstream"), nameUpstream+`, or set action = "refuse" or "pass"`, "the route has no upstream")
	case r.Action != rule.Steer && len(r.Upstreams) > 0:
		d.fault(got.at("upstream"), "drop one of the two", "a route with action = %q has no upstream", r.Action)
	case r.Action != rule.Steer:
		d.warnUnused(got, "a route that does not proxy", "balance", "source", "max_fails", "fail_timeout",
			"health_check", "slow_start", "close_on_removal", "proxy_protocol", "idle_timeout")
		d.warnUnused(got, "a route that does not proxy", tcpKeys...)
		d.warnUnused(got, "a route that does not proxy", udpKeys...)
	case r.Protocol == rule.UDP:
		d.warnUnused(got, "a UDP route", tcpKeys...)
	default:
		d.checkTCPKeys(r, got)
	}
}

// checkTCPKeys holds the keys of a route for TCP, or for both, against each other.
func (d *decoder) checkTCPKeys(r Route, got reading) {
	if r.Protocol == rule.TCP {
		d.warnUnused(got, "a TCP route", udpKeys...)
	}
	if !got.given("accept_proxy_from") {
		d.warnUnused(got, "a route without accept_proxy_from", "proxy_header_timeout")
	}
}

func (d *decoder) warnUnused(got reading, what string, keys ...string) {
	for _, key := range keys {
		if got.given(key) {
			d.warn(got.at(key), "", "has no effect on %s", what)
		}
	}
}

// checkOffsets makes sure that original port plus offset is a port, for every port of the route.
func (d *decoder) checkOffsets(r Route, got reading) {
	if !got.good("ports") {
		return
	}
	last := allPorts.Last
	if len(r.Ports) > 0 {
		last = r.Ports[len(r.Ports)-1].Last
	}
	each(got.at("upstream"), parseUpstream, func(item value, u Upstream) {
		if int(last)+int(u.Offset) > 65535 {
			d.fault(item, fmt.Sprintf("limit the route's ports to %d and below", 65535-int(u.Offset)),
				"%q leads past port 65535: the route's ports reach %d", item.text, last)
		}
	})
}

func (d *decoder) checkProxyProtocol(r Route, got reading) {
	if !got.good("protocol", "proxy_protocol") {
		return
	}
	at := got.at("proxy_protocol")
	switch {
	case r.ProxyProtocol == ProxyV1 && r.Protocol != rule.TCP:
		d.fault(at, `write "v2", or protocol = "tcp"`, "version 1 of the PROXY protocol knows only TCP")
	case r.ProxyProtocol == ProxySPP && r.Protocol != rule.UDP:
		d.fault(at, `write "v2", or protocol = "udp"`, "the Simple Proxy Protocol knows only UDP")
	}
}

// checkOffload warns of keys for flows that are never offloaded.
func (d *decoder) checkOffload(r Route, got reading) {
	keys := []string{"offload", "offload_after"}
	switch {
	case !got.good("action", "protocol", "proxy_protocol", "offload"):
	case !r.Offload:
		d.warnUnused(got, `a route without offload = "auto"`, "offload_after")
	case r.Action != rule.Steer:
		d.warnUnused(got, "a route that does not proxy", keys...)
	case r.Protocol == rule.TCP:
		d.warnUnused(got, "a TCP route", keys...)
	case r.ProxyProtocol == ProxyV2 || r.ProxyProtocol == ProxySPP:
		d.warnUnused(got, "a route whose proxy_protocol goes before every datagram", keys...)
	}
}

// checkSource refuses a client's address for datagrams: replies to it would not find the one socket that waits for
// those of all flows.
func (d *decoder) checkSource(r Route, got reading) {
	if !got.good("protocol", "source") || r.Source != SourceClient || r.Action != rule.Steer {
		return
	}
	switch r.Protocol {
	case rule.UDP:
		d.fault(got.at("source"), `leave the key out, or write protocol = "tcp"`, "UDP cannot come from the client's address")
	case rule.Both:
		d.warn(got.at("source"), `protocol = "tcp" says so`, "is for TCP; UDP leaves from udp_sources as ever")
	}
}
