package conf

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"anyport/conf/rule"
)

var compareNetip = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

func parse(t *testing.T, file, text string) *Config {
	t.Helper()
	c, err := Parse(file, []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// TestDefaults spells out what a file gets that says as little as it may.
func TestDefaults(t *testing.T) {
	const text = `prefixes = ["198.18.0.0/20"]
[[route]]
upstream = ["10.0.0.5"]
[[dns]]
zones = ["/srv/*.zone"]
[[dns]]
zones = ["/srv/*.zone"]
port = 54
`
	server := DNS{Line: 4, Name: "dns", Port: 53, Zones: []string{"/srv/*.zone"}, UDPSize: 1232, Slip: 2,
		TCPIdle: 10 * time.Second, MaxTCPConnections: 1000, MaxTCPPerClient: 250, Service: ServiceDNS}
	second := server
	second.Line, second.Name, second.Port, second.Service = 6, "dns-2", 54, ServiceDNS+1
	want := &Config{
		File:             "x.toml",
		Text:             []byte(text),
		Prefixes:         prefixes("198.18.0.0/20"),
		Metrics:          netip.MustParseAddrPort("127.0.0.1:9464"),
		UDPWorkers:       1,
		MaxConnections:   100000,
		MaxFlows:         100000,
		UDPReceiveBuffer: 4 << 20,
		SourceBits4:      32,
		SourceBits6:      64,
		DrainTimeout:     30 * time.Second,
		ResolveMin:       5 * time.Second,
		ResolveMax:       5 * time.Minute,
		Routes: []Route{{
			Line:           2,
			Name:           "route-1",
			Protocol:       rule.Both,
			Action:         rule.Steer,
			Upstreams:      []Upstream{{Addr: netip.MustParseAddr("10.0.0.5")}},
			Balance:        Maglev,
			MaxFails:       3,
			FailTimeout:    10 * time.Second,
			HeaderTimeout:  3 * time.Second,
			ConnectTimeout: 3 * time.Second,
			TCPIdle:        time.Hour,
			UDPIdle:        time.Minute,
			OffloadAfter:   3,
			HalfClose:      5 * time.Minute,
		}},
		DNS: []DNS{server, second},
	}
	if diff := cmp.Diff(want, parse(t, "x.toml", text), compareNetip); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// lineOf returns the number of the first line that is this one.
func lineOf(text, line string) int { return slices.Index(strings.Split(text, "\n"), line) + 1 }

// TestEveryKey sets each key to something that is not its default.
func TestEveryKey(t *testing.T) {
	const text = `prefixes = ["198.18.0.0/20", "2001:db8::/48"]
open_prefixes = ["198.18.16.0/24"]
allow_on_link = true
metrics = "none"
workers = 0x4
udp_sources = [
  "203.0.113.1:10000-20000",
  "[2001:db8:1::1]:20000-30000",
]
tcp_sources = ["203.0.113.1", "2001:db8:1::1"]
udp_workers = 3
udp_transmit = "clsact"
max_connections = 1_000
max_connections_per_source = 50
max_flows = 2000
max_flows_per_source = 20
at_max_flows = "refuse"
udp_receive_buffer = 131072
source_prefix_ipv4 = 24
source_prefix_ipv6 = 56
access_log = "log/access.json"
access_log_progress = "30m"
drain_timeout = "none"
resolve_interval_min = "2s"
resolve_interval_max = "1h"

[[route]]
name = "ssh"
protocol = "tcp"
prefix = ["198.18.1.0/24", "2001:db8:0:1::/64"]
ports = "2200-2299,22"
from = ["198.51.100.0/24", "2001:db8:ffff::/48"]
action = "proxy"
upstream = ["10.0.0.5", "[2001:db8:2::7]:22 backup", "ssh.example:+1000  weight=256 backup"]
balance = "round_robin"
max_fails = 0
fail_timeout = "1m"
slow_start = "30s"
close_on_removal = true
health_check = {type = "udp", interval = "1s", timeout = "100ms", rise = 1, fall = 100, port = 53, send = "hex:00 ff", expect = "\u00e4"}
proxy_protocol = "v1"
source = "client"
accept_proxy_from = ["10.0.0.0/8", "2001:db8:5::/48"]
proxy_header_timeout = "500ms"
connect_timeout = "none"
idle_timeout = "10m"
half_close_timeout = "1m"
tcp_user_timeout = "30s"
tcp_keepalive = "90s"
mss = 1360
max_connections = 500
offload = "off"
connection_rate_per_source = "30/m"
connection_burst_per_source = 7

[[route]]
name = "games"
protocol = "udp"
upstream = ["10.0.0.7"]
offload = "auto"
offload_after = 9
max_flows = 5_000
max_datagram = 1400

[[dns]]
name = "ns1"
prefix = ["198.18.16.53/32"]
port = 5353
zones = ["zones/*.zone", "/srv/zones/[a-m]*"]
nsid = "fra1"
version = "unknown"
cookie_secret = "000102030405060708090a0B0c0D0e0F"
udp_size = 1400
rate_limit = 100
slip = 3
tcp_idle_timeout = "none"
max_tcp_connections = 5
max_tcp_per_client = 4
query_log = "1/1000"
`
	want := &Config{
		File:         "/etc/any*port/x.toml",
		Text:         []byte(text),
		Prefixes:     prefixes("198.18.0.0/20", "2001:db8::/48"),
		OpenPrefixes: prefixes("198.18.16.0/24"),
		AllowOnLink:  true,
		Workers:      4,
		UDPSources: []UDPSource{
			{netip.MustParseAddr("203.0.113.1"), rule.PortRange{First: 10000, Last: 20000}},
			{netip.MustParseAddr("2001:db8:1::1"), rule.PortRange{First: 20000, Last: 30000}},
		},
		TCPSources:        []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:1::1")},
		UDPWorkers:        3,
		UDPTransmit:       TransmitClsact,
		MaxConnections:    1000,
		MaxPerSource:      50,
		MaxFlows:          2000,
		MaxFlowsPerSource: 20,
		KeepFlows:         true,
		UDPReceiveBuffer:  128 << 10,
		SourceBits4:       24,
		SourceBits6:       56,
		AccessLog:         "/etc/any*port/log/access.json",
		LogProgress:       30 * time.Minute,
		ResolveMin:        2 * time.Second,
		ResolveMax:        time.Hour,
		Routes: []Route{{
			Line:     lineOf(text, "[[route]]"),
			Name:     "ssh",
			Protocol: rule.TCP,
			Prefixes: prefixes("198.18.1.0/24", "2001:db8:0:1::/64"),
			Ports:    ranges(22, 22, 2200, 2299),
			From:     prefixes("198.51.100.0/24", "2001:db8:ffff::/48"),
			Action:   rule.Steer,
			Upstreams: []Upstream{
				{Addr: netip.MustParseAddr("10.0.0.5")},
				{Addr: netip.MustParseAddr("2001:db8:2::7"), Port: 22, Backup: true},
				{Name: "ssh.example", Offset: 1000, Weight: 256, Backup: true},
			},
			Balance:        RoundRobin,
			FailTimeout:    time.Minute,
			SlowStart:      30 * time.Second,
			CloseOnRemoval: true,
			HealthCheck: HealthCheck{Type: UDPCheck, Interval: time.Second, Timeout: 100 * time.Millisecond, Rise: 1,
				Fall: 100, Port: 53, Send: "\x00\xff", Expect: "ä"},
			ProxyProtocol:  1,
			Source:         SourceClient,
			HeaderSenders:  prefixes("10.0.0.0/8", "2001:db8:5::/48"),
			HeaderTimeout:  500 * time.Millisecond,
			TCPIdle:        10 * time.Minute,
			UDPIdle:        10 * time.Minute,
			HalfClose:      time.Minute,
			UserTimeout:    30 * time.Second,
			Keepalive:      90 * time.Second,
			MSS:            1360,
			Service:        serviceListener,
			MaxConnections: 500,
			ConnectionRate: rule.Rate{Interval: 2 * time.Second, Burst: 7},
			OffloadAfter:   3,
		}, {
			Line:           lineOf(text, `name = "games"`) - 1,
			Name:           "games",
			Protocol:       rule.UDP,
			Action:         rule.Steer,
			Upstreams:      []Upstream{{Addr: netip.MustParseAddr("10.0.0.7")}},
			Balance:        Maglev,
			MaxFails:       3,
			FailTimeout:    10 * time.Second,
			HeaderTimeout:  3 * time.Second,
			ConnectTimeout: 3 * time.Second,
			TCPIdle:        DefaultTCPIdle,
			UDPIdle:        DefaultUDPIdle,
			Offload:        true,
			OffloadAfter:   9,
			MaxFlows:       5000,
			MaxDatagram:    1400,
			HalfClose:      5 * time.Minute,
		}},
		DNS: []DNS{{
			Line:              lineOf(text, "[[dns]]"),
			Name:              "ns1",
			Prefixes:          prefixes("198.18.16.53/32"),
			Port:              5353,
			Zones:             []string{`/etc/any\*port/zones/*.zone`, "/srv/zones/[a-m]*"},
			NSID:              "fra1",
			Version:           "unknown",
			CookieSecret:      []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
			UDPSize:           1400,
			RateLimit:         100,
			Slip:              3,
			MaxTCPConnections: 5,
			MaxTCPPerClient:   4,
			QueryLog:          1000,
			Service:           ServiceDNS,
		}},
	}
	if diff := cmp.Diff(want, parse(t, "/etc/any*port/x.toml", text), compareNetip); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestInlineSections reads sections that are written as lists of tables, which TOML takes for the same thing.
func TestInlineSections(t *testing.T) {
	inline := parse(t, "x.toml", `prefixes = ["198.18.0.0/20"]
route = [{ ports = "22", upstream = ["10.0.0.5"] }, { ports = "25", action = "refuse" }]
`)
	sections := parse(t, "x.toml", `prefixes = ["198.18.0.0/20"]
[[route]]
ports = "22"
upstream = ["10.0.0.5"]
[["route"]]
ports = "25"
action = "refuse"
`)
	sameRoutes := []cmp.Option{compareNetip, cmpopts.IgnoreFields(Config{}, "Text"), cmpopts.IgnoreFields(Route{}, "Line")}
	if diff := cmp.Diff(sections, inline, sameRoutes...); diff != "" {
		t.Errorf("-sections +inline:\n%s", diff)
	}
}

func TestRuleSet(t *testing.T) {
	c := parse(t, "x.toml", `prefixes = ["198.18.0.0/20"]
open_prefixes = ["2001:db8::/48"]
[[route]]
name = "web"
protocol = "tcp"
prefix = ["198.18.1.0/24"]
ports = "80,443"
from = ["192.0.2.0/24"]
upstream = ["10.0.0.5"]
[[route]]
name = "later"
ports = "25"
action = "pass"
[[dns]]
prefix = ["2001:db8::/48"]
zones = ["*.zone"]
`)
	want := rule.Set{
		Prefixes: []rule.Prefix{{Prefix: netip.MustParsePrefix("198.18.0.0/20")},
			{Prefix: netip.MustParsePrefix("2001:db8::/48"), Open: true}},
		Rules: []rule.Rule{
			{Name: "web", Protocol: rule.TCP, Prefixes: prefixes("198.18.1.0/24"), Ports: ranges(80, 80, 443, 443),
				From: prefixes("192.0.2.0/24"), Verdict: rule.Steer, Service: ServiceProxy, Fallback: rule.NoService},
			{Name: "later", Ports: ranges(25, 25), Verdict: rule.Pass, Service: ServiceProxy, Fallback: rule.NoService},
			{Name: "dns", Prefixes: prefixes("2001:db8::/48"), Ports: ranges(53, 53), Verdict: rule.Steer,
				Service: ServiceDNS, Fallback: rule.NoService},
		},
	}
	if diff := cmp.Diff(want, c.RuleSet(), compareNetip); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i, line := range []int{3, 10, 14} {
		if got := c.RuleLine(i); got != line {
			t.Errorf("rule %d stands on line %d, want %d", i, got, line)
		}
	}
}

func TestDemo(t *testing.T) {
	upstream := netip.MustParseAddrPort("127.0.0.1:4321")
	for _, c := range []struct {
		v6   bool
		want []netip.Prefix
	}{{false, prefixes("127.64.0.0/16")}, {true, prefixes("127.64.0.0/16", "fd64::/64")}} {
		got, err := Demo(upstream, c.v6)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.Prefixes, compareNetip); diff != "" {
			t.Errorf("prefixes (-want +got):\n%s", diff)
		}
		want := Route{Line: 4, Name: "demo", Action: rule.Steer, Balance: Maglev, MaxFails: 3, ProxyProtocol: 2,
			Upstreams:     []Upstream{{Addr: upstream.Addr(), Port: upstream.Port()}},
			HeaderTimeout: 3 * time.Second, ConnectTimeout: 3 * time.Second, TCPIdle: DefaultTCPIdle,
			UDPIdle: DefaultUDPIdle, FailTimeout: 10 * time.Second, HalfClose: 5 * time.Minute, OffloadAfter: 3}
		if diff := cmp.Diff([]Route{want}, got.Routes, compareNetip); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		if got.File != DemoFile {
			t.Errorf("file %q, want %q", got.File, DemoFile)
		}
	}
	if _, err := Demo(netip.MustParseAddrPort("127.64.0.1:80"), false); err == nil {
		t.Error("a demo that loops into itself is accepted")
	}
	if _, err := Demo(netip.MustParseAddrPort("[::1]:80"), true); err != nil {
		t.Errorf("a demo with an IPv6 upstream: %v", err)
	}
}

// The forms of a health check: a word, and a table that follows its route.
func TestHealthCheckForms(t *testing.T) {
	c := parse(t, "x.toml", `prefixes = ["198.18.0.0/20"]
[[route]]
ports = "22"
upstream = ["10.0.0.5", "10.0.0.6:+8"]
health_check = "tcp"
[[route]]
ports = "23"
upstream = ["10.0.0.5"]
[route.health_check]
rise = 7
[[route]]
ports = "24"
upstream = ["10.0.0.5"]
health_check = "none"
`)
	word := HealthCheck{Type: TCPCheck, Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
	table := word
	table.Rise = 7
	for i, want := range []HealthCheck{word, table, {}} {
		if got := c.Routes[i].HealthCheck; got != want {
			t.Errorf("route %d: %+v, want %+v", i, got, want)
		}
	}
	if a, b := c.Routes[0].CheckPort(c.Routes[0].Upstreams[0]), c.Routes[0].CheckPort(c.Routes[0].Upstreams[1]); a != 22 || b != 30 {
		t.Errorf("the ports to check are %d and %d, want 22 and 30", a, b)
	}
}
