package dns

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"time"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/cookie"
	"anyport/proxy/dns/ratelimit"
	"anyport/proxy/dns/wire"
)

// DefaultHome is where the server's sockets are bound: an address of the loopback network that no resolver uses
// (systemd-resolved has 127.0.0.53, most others 127.0.0.1), and the port of DNS.
var DefaultHome = netip.MustParseAddrPort("127.53.0.1:53")

// Options configures a Server. The zero value of a field is its default, named behind it.
type Options struct {
	// Home is where the sockets are bound: DefaultHome. UDP replies to queries for Home's port are sent by the socket
	// itself, all others through a raw socket, which needs CAP_NET_RAW. If another program holds the port on all
	// addresses, a free port takes its place.
	Home     netip.AddrPort
	Zones    []string      // patterns of zone files (path/filepath.Match)
	Poll     time.Duration // between two looks for changed files: DefaultPoll; negative: none
	Workers  int           // UDP workers: one per core
	UDPSize  int           // the largest UDP response, in bytes: DefaultUDPSize; at least wire.MinUDP
	NSID     string        // answered to RFC 5001's option: none
	Version  string        // answered to version.bind and version.server: refused
	Hostname string        // answered to hostname.bind and id.server: refused; "-" is the host's name

	Cookies   []cookie.Secret // the first makes cookies, all are accepted: one random secret
	RateLimit ratelimit.Options
	MaxTCP    int           // TCP connections at once: DefaultMaxTCP
	MaxClient int           // of them from one IPv4 address or IPv6 /64: a quarter
	TCPIdle   time.Duration // how long a connection may wait for a query: DefaultTCPIdle; negative: for ever
	LogEvery  int           // one query in so many is logged: none
	Logger    *slog.Logger  // slog.Default
}

// Defaults of Options.
const (
	DefaultPoll    = 2 * time.Second
	DefaultUDPSize = 1232             // fits every IPv6 path unfragmented (RFC 9715, DNS flag day 2020)
	DefaultMaxTCP  = 1000             // enough for a /20's worth of resolvers that meet truncation
	DefaultTCPIdle = 10 * time.Second // "in the order of a few seconds" (RFC 7766 section 6.2.3)
)

// maxUDPSize is what a datagram over IPv4 can carry (RFC 791, RFC 768).
const maxUDPSize = 65507

func (o Options) withDefaults() Options {
	o.Home = or(o.Home, DefaultHome)
	o.Poll = or(o.Poll, DefaultPoll)
	o.Workers = or(o.Workers, runtime.GOMAXPROCS(0))
	o.UDPSize = min(max(or(o.UDPSize, DefaultUDPSize), wire.MinUDP), maxUDPSize)
	o.MaxTCP = or(o.MaxTCP, DefaultMaxTCP)
	o.MaxClient = or(o.MaxClient, max(o.MaxTCP/4, 1))
	o.TCPIdle = or(o.TCPIdle, DefaultTCPIdle)
	o.Logger = or(o.Logger, slog.Default())
	if o.Hostname == "-" {
		o.Hostname, _ = os.Hostname() // unknown: refused
	}
	if len(o.Cookies) == 0 {
		o.Cookies = make([]cookie.Secret, 1)
		rand.Read(o.Cookies[0][:])
	}
	return o
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// answers returns what the responders need to know.
func (o *Options) answers() answer.Config {
	c := answer.Config{
		UDPSize: uint16(o.UDPSize),
		Chaos:   answer.NewChaos(o.Version, o.Hostname),
		Cookies: cookie.NewJar(o.Cookies),
	}
	if o.NSID != "" {
		c.NSID = []byte(o.NSID)
	}
	return c
}
