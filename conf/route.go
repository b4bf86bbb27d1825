package conf

import (
	"net/netip"
	"strconv"
	"time"

	"anyport/conf/rule"
)

var routeKeys = []key[Route]{
	{"name", single(func(r *Route) *string { return &r.Name }, parseName)},
	{"protocol", single(func(r *Route) *rule.Protocol { return &r.Protocol }, parseProtocol)},
	{"prefix", filled(func(r *Route) *[]netip.Prefix { return &r.Prefixes }, parsePrefix, leaveOutPrefix)},
	{"ports", single(func(r *Route) *ports { return (*ports)(&r.Ports) }, parsePorts)},
	{"from", filled(func(r *Route) *[]netip.Prefix { return &r.From }, parsePrefix, "leave the key out for every source")},
	{"action", single(func(r *Route) *rule.Verdict { return &r.Action }, parseAction)},
	{"upstream", setUpstreams},
	{"balance", single(func(r *Route) *Balance { return &r.Balance }, parseBalance)},
	{"max_fails", integer(func(r *Route) *int { return &r.MaxFails }, 0, maxFails)},
	{"fail_timeout", single(func(r *Route) *time.Duration { return &r.FailTimeout }, parseInterval)},
	{"health_check", setHealthCheck},
	{"slow_start", single(func(r *Route) *time.Duration { return &r.SlowStart }, parseTimeout)},
	{"close_on_removal", boolean(func(r *Route) *bool { return &r.CloseOnRemoval })},
	{"proxy_protocol", single(func(r *Route) *ProxyProtocol { return &r.ProxyProtocol }, parseProxyProtocol)},
	{"source", single(func(r *Route) *Source { return &r.Source }, parseSource)},
	{"accept_proxy_from", filled(func(r *Route) *[]netip.Prefix { return &r.HeaderSenders }, parsePrefix, leaveOutSenders)},
	{"proxy_header_timeout", single(func(r *Route) *time.Duration { return &r.HeaderTimeout }, parseTimeout)},
	{"connect_timeout", single(func(r *Route) *time.Duration { return &r.ConnectTimeout }, parseTimeout)},
	{"idle_timeout", setIdle},
	{"half_close_timeout", single(func(r *Route) *time.Duration { return &r.HalfClose }, parseTimeout)},
	{"tcp_user_timeout", single(func(r *Route) *time.Duration { return &r.UserTimeout }, parseUserTimeout)},
	{"tcp_keepalive", single(func(r *Route) *time.Duration { return &r.Keepalive }, parseKeepalive)},
	{"mss", zeroOr(func(r *Route) *int { return &r.MSS }, minMSS, maxMSS)},
	{"max_connections", integer(func(r *Route) *int { return &r.MaxConnections }, 0, maxConnections)},
	{"max_flows", integer(func(r *Route) *int { return &r.MaxFlows }, 0, maxFlows)},
	{"max_datagram", zeroOr(func(r *Route) *int { return &r.MaxDatagram }, minDatagram, maxDatagram)},
	{"connection_rate_per_source", single(func(r *Route) *time.Duration { return &r.ConnectionRate.Interval }, parseRate)},
	{"connection_burst_per_source", integer(func(r *Route) *int { return &r.ConnectionRate.Burst }, 0, rule.MaxRateBurst)},
	{"offload", single(func(r *Route) *bool { return &r.Offload }, parseOffload)},
	{"offload_after", integer(func(r *Route) *int { return &r.OffloadAfter }, 1, maxOffloadAfter)},
}

const (
	leaveOutPrefix  = "leave the key out for every served prefix"
	leaveOutSenders = "leave the key out if nobody sends one"
	nameUpstream    = `name at least one, as in upstream = ["10.0.0.5"]`
)

var (
	parseProtocol = oneOf(word[rule.Protocol]{"tcp", rule.TCP}, word[rule.Protocol]{"udp", rule.UDP},
		word[rule.Protocol]{"both", rule.Both})
	parseAction = oneOf(word[rule.Verdict]{"proxy", rule.Steer}, word[rule.Verdict]{"refuse", rule.Refuse},
		word[rule.Verdict]{"pass", rule.Pass})
	parseOffload       = oneOf(word[bool]{"off", false}, word[bool]{"auto", true})
	parseSource        = oneOf(word[Source]{"host", SourceHost}, word[Source]{"client", SourceClient})
	parseProxyProtocol = oneOf(word[ProxyProtocol]{"v2", ProxyV2}, word[ProxyProtocol]{"v2_first", ProxyV2First},
		word[ProxyProtocol]{"v1", ProxyV1}, word[ProxyProtocol]{"spp", ProxySPP}, word[ProxyProtocol]{"none", ProxyNone})
	parseBalance = oneOf(word[Balance]{"maglev", Maglev}, word[Balance]{"round_robin", RoundRobin},
		word[Balance]{"least_conn", LeastConn})
)

// maxFails is the most connects in a row that an upstream may fail: more is a slip of the pen for 0, never.
const maxFails = 1000

// setIdle sets both timeouts: without the key they differ, with it they are what it says.
func setIdle(d *decoder, v value, r *Route) {
	var idle time.Duration
	single(func(*Route) *time.Duration { return &idle }, parseTimeout)(d, v, r)
	r.TCPIdle, r.UDPIdle = idle, idle
}

// Bounds of max_datagram: what every IPv6 link carries, 1,280 bytes with the headers (RFC 8200, section 5), and what IPv4
// can carry at all (RFC 791).
const (
	minDatagram = 1280 - 40 - 8
	maxDatagram = 65535 - 20 - 8
)

// maxOffloadAfter is far beyond the datagrams that it takes to tell a flow from a question and its answer.
const maxOffloadAfter = 1_000_000

// route decodes the number-th [[route]], counted from 1, and checks it by itself.
func (d *decoder) route(s *section, number int) (Route, reading) {
	r := Route{Line: s.line, TCPIdle: DefaultTCPIdle, UDPIdle: DefaultUDPIdle}
	got := decode(d, s, defaults()["route"], routeKeys, &r)
	if !got.given("name") {
		r.Name = "route-" + strconv.Itoa(number)
	}
	if r.Action != rule.Steer || r.Protocol == rule.UDP {
		r.MSS = 0 // it has no effect, of which checkAction warns
	}
	r.ConnectionRate = d.completeRate(r, got)
	d.checkAction(r, got)
	d.healthCheck(&r, got)
	d.checkOffsets(r, got)
	d.checkHealthCheck(r, got)
	d.checkProxyProtocol(r, got)
	d.checkOffload(r, got)
	d.checkSource(r, got)
	return r, got
}
