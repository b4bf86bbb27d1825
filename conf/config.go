// Package conf reads anyport's configuration: a TOML file becomes a validated, immutable [Config] of net/netip values.
//
// The way of a file: [Parse] splits it into sections whose values remember their lines (tree.go), each section is
// decoded by its table of keys (top.go, route.go, dns.go), what a key leaves out comes from defaults.toml, and the
// whole is then checked for what no single key can tell: loops, ties, rules outside the prefixes, clashes with the
// host. Nothing stops at the first mistake: all of them come back as [Faults], each with its line and key.
//
// Nothing here opens a socket or needs a kernel. What depends on the host (interfaces, gateways) is checked against a
// [Host] that the caller fills, so that a configuration can be checked for a machine one is not on.
package conf

import (
	"fmt"
	"net/netip"
	"time"

	"anyport/conf/rule"
)

// Services that rules steer to: the numbers that [rule.Rule.Service] takes. Others, from [Route.Service], are the proxy's
// TCP listener for one mss and its UDP socket for clients.
const (
	ServiceProxy   uint16 = iota // the proxy's TCP listener and its UDP socket for clients
	ServiceReplies               // the proxy's UDP socket for upstream replies
	ServiceDNS                   // the first DNS server; the others follow
)

// RepliesService is the service for the replies to one of the UDP workers: that of worker 0, and those of others from the
// highest down.
func RepliesService(worker int) uint16 {
	if worker == 0 {
		return ServiceReplies
	}
	return lastService + 1 - uint16(worker)
}

// RepliesWorker is the reverse of RepliesService: it reports false for other services.
func RepliesWorker(service uint16) (worker int, ok bool) {
	if service == ServiceReplies {
		return 0, true
	}
	worker = int(lastService) + 1 - int(service)
	return worker, worker > 0 && worker < maxUDPWorkers
}

// lastService is the highest service that there can be (steering.MaxServices).
const lastService = uint16(511)

// Config is one whole configuration. It is never changed after Load returns it.
type Config struct {
	File           string // as given, for messages; "(built-in)" for the embedded default
	Text           []byte // the file's content
	Prefixes       []netip.Prefix
	OpenPrefixes   []netip.Prefix
	AllowOnLink    bool
	Metrics        netip.AddrPort // the zero AddrPort: no metrics listener
	Workers        int            // 0: one per core
	TproxyPort     int            // that TPROXY rules lead to, and the next one for UDP replies; 0: sk_lookup steers
	UDPSources     []UDPSource    // none: the routed source address, DefaultUDPPorts
	TCPSources     []netip.Addr   // none of a family: the routed source address
	UDPWorkers     int            // at least 1
	UDPTransmit    Transmit       // how trains of datagrams leave
	MaxConnections int            // TCP connections at once, in total
	MaxPerSource   int            // TCP connections at once of one source; 0: no limit
	MaxFlows       int            // UDP flows at once, in total
	SourceBits4    int            // addresses that agree in so many first bits are one source to every limit, IPv4
	SourceBits6    int            // the same, IPv6
	AccessLog      string         // a path, "-" for standard output, "" for none
	LogProgress    time.Duration  // between two lines of what is open in the access log; 0: one at its end only
	DrainTimeout   time.Duration  // how long SIGTERM waits for open connections; 0: no limit
	ResolveMin     time.Duration  // between two look-ups of an upstream's DNS name at least, whatever its TTL is; 1s or more
	ResolveMax     time.Duration  // the same at most
	Routes         []Route        // Routes[i] is rule i of RuleSet
	DNS            []DNS          // DNS[i] is rule len(Routes)+i of RuleSet
	Warnings       []Fault        // what Load found that is legal but surely not meant

	MaxFlowsPerSource int  // UDP flows at once of one source; 0: no limit
	KeepFlows         bool // at a limit of flows, the new one is refused, rather than an old one evicted
	UDPReceiveBuffer  int  // of each UDP socket, in bytes
}

// UDPSource is an address and port range that the proxy sends to upstreams from.
type UDPSource struct {
	Addr  netip.Addr
	Ports rule.PortRange
}

// DefaultUDPPorts lies below Linux's default ip_local_port_range (32768-60999, Documentation/networking/ip-sysctl.rst),
// so that the kernel never hands one of these ports to another socket by itself.
var DefaultUDPPorts = rule.PortRange{First: 10000, Last: 32767}

// Idle timeouts of a route that sets none. An hour outlives the keepalives of interactive TCP protocols; a minute is
// the default of Envoy's udp_proxy.
const (
	DefaultTCPIdle = time.Hour
	DefaultUDPIdle = time.Minute
)

// Route is a rule of the proxy: what it matches, and where that goes.
type Route struct {
	Line           int // of its [[route]] header in the file
	Name           string
	Protocol       rule.Protocol
	Prefixes       []netip.Prefix   // none: every served prefix
	Ports          []rule.PortRange // sorted, disjoint; none: 1-65535
	From           []netip.Prefix   // none: every source
	Action         rule.Verdict     // Steer: to the upstreams
	Upstreams      []Upstream       // Steer only, in the order written
	Balance        Balance
	MaxFails       int           // connects in a row whose failure ejects an upstream; 0: none does
	FailTimeout    time.Duration // how long the first time
	SlowStart      time.Duration // how long an upstream that is back takes to its full share; 0: no time
	HealthCheck    HealthCheck
	CloseOnRemoval bool // an upstream that goes takes its connections and flows with it
	ProxyProtocol  ProxyProtocol
	Source         Source
	HeaderSenders  []netip.Prefix // TCP: whose connections begin with a PROXY header; none: nobody's
	HeaderTimeout  time.Duration  // how long such a header may take; 0: no limit
	ConnectTimeout time.Duration  // TCP; 0: the kernel's own limit
	TCPIdle        time.Duration  // 0: none
	UDPIdle        time.Duration  // 0: none
	Offload        bool           // UDP: the kernel is to forward flows by itself where it can,
	OffloadAfter   int            // after so many datagrams of a flow
	HalfClose      time.Duration  // TCP; 0: none
	UserTimeout    time.Duration  // TCP; 0: the kernel's own limit
	Keepalive      time.Duration  // TCP; 0: none
	MSS            int            // TCP: the largest segment to and from clients, in bytes; 0: what the link allows
	Service        uint16         // what its rule steers to: ServiceProxy, or that of the listener for MSS
	MaxConnections int            // TCP connections at once; 0: no limit but the total
	ConnectionRate rule.Rate      // of new TCP connections from each source; without the length of networks
	MaxFlows       int            // UDP flows at once; 0: no limit but the total
	MaxDatagram    int            // UDP to clients: the longest that is sent as one packet, in bytes of content; 0: no limit
}

// Transmit is how trains of UDP datagrams leave: those that a sender, or the device, has joined.
type Transmit uint8

const (
	TransmitAuto   Transmit = iota // the first of the following that works
	TransmitTCX                    // whole, through a program that tcx has put onto lo
	TransmitClsact                 // whole, through a filter on lo
	TransmitRaw                    // cut, each datagram through a raw socket
)

// String returns the word of the configuration: "auto", "tcx", "clsact" or "raw".
func (t Transmit) String() string {
	switch t {
	case TransmitAuto:
		return "auto"
	case TransmitTCX:
		return "tcx"
	case TransmitClsact:
		return "clsact"
	case TransmitRaw:
		return "raw"
	}
	return fmt.Sprintf("transmit(%d)", uint8(t))
}

// Balance says how a route spreads its connections and flows over its upstream addresses.
type Balance uint8

const (
	RoundRobin Balance = iota
	LeastConn
	Maglev
)

// String returns the word of the configuration: "round_robin", "least_conn" or "maglev".
func (b Balance) String() string {
	switch b {
	case RoundRobin:
		return "round_robin"
	case LeastConn:
		return "least_conn"
	case Maglev:
		return "maglev"
	}
	return fmt.Sprintf("balance(%d)", uint8(b))
}

// ProxyProtocol is the header by which a route tells its upstreams who the client is.
type ProxyProtocol uint8

// The headers. The first three are the versions of the PROXY protocol.
const (
	ProxyNone    ProxyProtocol = iota
	ProxyV1                    // TCP only
	ProxyV2                    // TCP: at the beginning; UDP: before every datagram
	ProxyV2First               // ProxyV2, but for UDP before the first datagram of a flow only
	ProxySPP                   // Cloudflare's Simple Proxy Protocol, before every datagram both ways; UDP only
)

// Source says where a route's TCP connections to upstreams come from.
type Source uint8

const (
	SourceHost   Source = iota // an address of the host: of TCPSources, or what routing chooses
	SourceClient               // the client's own address and port
)
