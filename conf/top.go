package conf

import (
	"net/netip"
	"time"
)

// Limits of the top level's numbers.
const (
	maxWorkers     = 1024
	maxUDPWorkers  = 64
	maxTproxyPort  = 65534      // the next one is for UDP replies
	maxConnections = 10_000_000 // two descriptors each: RLIMIT_NOFILE and fs.nr_open end most hosts long before
	maxFlows       = 10_000_000 // each flow holds a NAT port: the UDP sources end most hosts long before
)

// Bounds of a socket's receive buffer: less does not hold one datagram of 64 KiB, more is past what setsockopt(2) can
// double in an int.
const (
	minUDPBuffer = 128 << 10
	maxUDPBuffer = 1<<30 - 1
)

var parseAtMaxFlows = oneOf(word[bool]{"evict", false}, word[bool]{"refuse", true})

var topKeys = []key[Config]{
	{"prefixes", list(func(c *Config) *[]netip.Prefix { return &c.Prefixes }, parseServed)},
	{"open_prefixes", list(func(c *Config) *[]netip.Prefix { return &c.OpenPrefixes }, parseServed)},
	{"allow_on_link", boolean(func(c *Config) *bool { return &c.AllowOnLink })},
	{"metrics", single(func(c *Config) *netip.AddrPort { return &c.Metrics }, parseListener)},
	{"workers", integer(func(c *Config) *int { return &c.Workers }, 0, maxWorkers)},
	{"tproxy_port", integer(func(c *Config) *int { return &c.TproxyPort }, 0, maxTproxyPort)},
	{"udp_sources", list(func(c *Config) *[]UDPSource { return &c.UDPSources }, parseUDPSource)},
	{"tcp_sources", setTCPSources},
	{"udp_workers", integer(func(c *Config) *int { return &c.UDPWorkers }, 1, maxUDPWorkers)},
	{"udp_transmit", single(func(c *Config) *Transmit { return &c.UDPTransmit }, parseTransmit)},
	{"max_connections", integer(func(c *Config) *int { return &c.MaxConnections }, 1, maxConnections)},
	{"max_connections_per_source", integer(func(c *Config) *int { return &c.MaxPerSource }, 0, maxConnections)},
	{"max_flows", integer(func(c *Config) *int { return &c.MaxFlows }, 1, maxFlows)},
	{"max_flows_per_source", integer(func(c *Config) *int { return &c.MaxFlowsPerSource }, 0, maxFlows)},
	{"at_max_flows", single(func(c *Config) *bool { return &c.KeepFlows }, parseAtMaxFlows)},
	{"udp_receive_buffer", integer(func(c *Config) *int { return &c.UDPReceiveBuffer }, minUDPBuffer, maxUDPBuffer)},
	{"source_prefix_ipv4", integer(func(c *Config) *int { return &c.SourceBits4 }, 0, 32)},
	{"source_prefix_ipv6", integer(func(c *Config) *int { return &c.SourceBits6 }, 0, 128)},
	{"access_log", single(func(c *Config) *string { return &c.AccessLog }, parseLog)},
	{"access_log_progress", single(func(c *Config) *time.Duration { return &c.LogProgress }, parseProgress)},
	{"drain_timeout", single(func(c *Config) *time.Duration { return &c.DrainTimeout }, parseTimeout)},
	{"resolve_interval_min", single(func(c *Config) *time.Duration { return &c.ResolveMin }, parseInterval)},
	{"resolve_interval_max", single(func(c *Config) *time.Duration { return &c.ResolveMax }, parseInterval)},
}

// parseListener reads the address of a listener, "none" as the zero AddrPort.
func parseListener(text string) (netip.AddrPort, *finding) {
	if text == "none" {
		return netip.AddrPort{}, nil
	}
	const hint = `write "127.0.0.1:9464", "[::1]:9464", "[::]:9464" for every address of the host, or "none"`
	host, port, f := splitHostPort(text)
	addr, err := netip.ParseAddr(host)
	if f != nil || err != nil || port == "" {
		return netip.AddrPort{}, refuse(hint, "%q is no address with a port", text)
	}
	if f := checkUnicast(addr); f != nil && !addr.IsUnspecified() {
		return netip.AddrPort{}, f
	}
	n, f := parsePort(port)
	return netip.AddrPortFrom(addr, n), f
}

// parseUDPSource reads "203.0.113.1:10000-32767" or "[2001:db8::1]:10000-32767".
func parseUDPSource(text string) (UDPSource, *finding) {
	const hint = `write "203.0.113.1:10000-32767" or "[2001:db8::1]:10000-32767"`
	host, ports, f := splitHostPort(text)
	addr, err := netip.ParseAddr(host)
	if f != nil || err != nil || ports == "" {
		return UDPSource{}, refuse(hint, "%q is no address with a range of ports", text)
	}
	if f := checkUnicast(addr); f != nil {
		return UDPSource{}, f
	}
	r, f := parsePortRange(ports)
	return UDPSource{Addr: addr, Ports: r}, f
}

// maxTCPSources bounds what it costs to find out that none of them has a port left.
const maxTCPSources = 64

func setTCPSources(d *decoder, v value, c *Config) {
	if len(v.items) > maxTCPSources {
		d.report(v, refuse("", "the list has %d addresses; %d are the limit", len(v.items), maxTCPSources))
		return
	}
	list(func(c *Config) *[]netip.Addr { return &c.TCPSources }, parseTCPSource)(d, v, c)
}

// parseTCPSource reads "203.0.113.1" or "2001:db8::1".
func parseTCPSource(text string) (netip.Addr, *finding) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, refuse(`write "203.0.113.1" or "2001:db8::1"; ports are those of ip_local_port_range`,
			"%q is no address", text)
	}
	return addr, checkUnicast(addr)
}

var parseTransmit = oneOf(word[Transmit]{"auto", TransmitAuto}, word[Transmit]{"tcx", TransmitTCX},
	word[Transmit]{"clsact", TransmitClsact}, word[Transmit]{"raw", TransmitRaw})

// parseLog reads a path, "-" for standard output, or "none" as "". Paths become relative to the file's directory later.
func parseLog(text string) (string, *finding) {
	switch text {
	case "none":
		return "", nil
	case "":
		return "", refuse(`write a path, "-" for standard output, or "none"`, "the path is empty")
	}
	return text, nil
}
