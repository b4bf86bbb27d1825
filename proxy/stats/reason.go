package stats

// Reason says why a connection or flow ended, or never began. The list is fixed: access log lines, metrics and
// README use these words.
type Reason uint8

const (
	Done               Reason = iota // TCP: both sides finished (FIN both ways)
	ClientReset                      // TCP: the client sent RST
	UpstreamReset                    // TCP: the upstream sent RST
	ConnectRefused                   // every upstream refused (ECONNREFUSED)
	ConnectTimeout                   // no upstream answered within connect_timeout
	ConnectUnreachable               // no route to any upstream (EHOSTUNREACH, ENETUNREACH)
	ConnectError                     // connecting failed otherwise; the log names the errno
	IdleTimeout                      // nothing moved for idle_timeout
	HalfCloseTimeout                 // TCP: one side had finished, and the other moved nothing for half_close_timeout
	ClientTimeout                    // TCP: the client no longer answers, says the kernel (ETIMEDOUT and the like)
	UpstreamTimeout                  // TCP: the upstream no longer answers
	NoRoute                          // no route of this or the previous generation claims the destination
	NoUpstream                       // the route's upstream names have not resolved yet
	ProxyHeaderInvalid               // TCP: a listed sender's PROXY header is none, or has not been sent whole
	ProxyHeaderTimeout               // TCP: a listed sender's PROXY header is not there after proxy_header_timeout
	Loop                             // the upstream's address leads back into our own prefixes
	Limit                            // max_connections or max_flows is reached
	RouteLimit                       // the route's max_connections or max_flows is reached
	SourceLimit                      // max_connections_per_source or max_flows_per_source is reached
	NoDescriptor                     // out of file descriptors or socket memory
	NoSource                         // no source port is free towards any upstream
	Evicted                          // UDP: the oldest idle flow made room for a new one
	Drained                          // still open when the drain timeout ended, or refused while draining
	RouteRemoved                     // UDP: a reload has removed the flow's route
	IOError                          // reading or writing failed otherwise; the log names the errno

	// UDP: what an ICMP error says of the upstream.
	UpstreamRefused     // the upstream's host has nobody on the port
	UpstreamUnreachable // no way leads to the upstream, or none that a filter lets be used

	HandedOver      // UDP: the flow goes on in the next process, whose access log will tell of it
	UpstreamRemoved // the configuration or DNS has taken the upstream away, and the route has close_on_removal
	UpstreamDown    // UDP: the upstream is out while another one is in, which the client's next datagram goes to

	NumReasons
)

var reasonNames = [NumReasons]string{
	Done: "done", ClientReset: "client_reset", UpstreamReset: "upstream_reset",
	ConnectRefused: "connect_refused", ConnectTimeout: "connect_timeout",
	ConnectUnreachable: "connect_unreachable", ConnectError: "connect_error",
	IdleTimeout: "idle_timeout", HalfCloseTimeout: "half_close_timeout",
	ClientTimeout: "client_timeout", UpstreamTimeout: "upstream_timeout",
	NoRoute: "no_route", NoUpstream: "no_upstream",
	ProxyHeaderInvalid: "proxy_header_invalid", ProxyHeaderTimeout: "proxy_header_timeout", Loop: "loop",
	Limit: "limit", RouteLimit: "route_limit", SourceLimit: "source_limit",
	NoDescriptor: "no_descriptor", NoSource: "no_source", Evicted: "evicted",
	Drained: "drained", RouteRemoved: "route_removed", IOError: "io_error",
	UpstreamRefused: "upstream_refused", UpstreamUnreachable: "upstream_unreachable",
	HandedOver:      "handed_over",
	UpstreamRemoved: "upstream_removed", UpstreamDown: "upstream_down",
}

// String returns the reason's word.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// HasErrno reports whether a reason leaves open which error it was, so that the log names it.
func (r Reason) HasErrno() bool {
	switch r {
	case ConnectError, ClientTimeout, UpstreamTimeout, IOError:
		return true
	}
	return false
}

// Drop says why a single UDP datagram was not forwarded.
type Drop uint8

const (
	DropTruncated Drop = iota // larger than the receive buffer (MSG_TRUNC)
	DropNoDst                 // no original destination in the control message
	DropStray                 // a reply that is not from its flow's upstream, or belongs to no flow
	DropNoFlow                // a new flow was refused; its Reason is counted with the route
	DropSend                  // sending failed; the socket's error is logged at most once a second
	DropTooBig                // longer than IP can carry with the header it needs
	DropBadHeader             // a reply without the header that proxy_protocol = "spp" promises
	NumDrops
)

var dropNames = [NumDrops]string{
	DropTruncated: "truncated", DropNoDst: "no_destination", DropStray: "stray",
	DropNoFlow: "no_flow", DropSend: "send_error", DropTooBig: "too_big",
	DropBadHeader: "bad_header",
}

// String returns the drop's word.
func (d Drop) String() string {
	if d < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// ICMP says what an ICMP error about a datagram that we sent has led to.
type ICMP uint8

const (
	ICMPRefused      ICMP = iota // port unreachable: the flow has ended, its client was told
	ICMPUnreachable              // host unreachable or prohibited: the same
	ICMPTooBig                   // fragmentation needed or packet too big: the client was told
	ICMPClientTooBig             // it was about a datagram to a client: too big, the upstream was told
	ICMPStray                    // it names no open flow, or not its upstream
	ICMPLimited                  // more than are acted upon in a second
	NumICMP
)

var icmpNames = [NumICMP]string{
	ICMPRefused: "refused", ICMPUnreachable: "unreachable", ICMPTooBig: "too_big",
	ICMPClientTooBig: "client_too_big", ICMPStray: "stray", ICMPLimited: "limited",
}

// String returns the word of what the error has led to.
func (i ICMP) String() string {
	if i < NumICMP {
		return icmpNames[i]
	}
	return "unknown"
}
