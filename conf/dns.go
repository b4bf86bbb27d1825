package conf

import (
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"anyport/conf/rule"
)

// DNS is a rule whose packets go to the DNS server, and how the server answers them. It claims one port, TCP and UDP.
type DNS struct {
	Line              int // of its [[dns]] header in the file
	Name              string
	Prefixes          []netip.Prefix // none: every served prefix
	Port              uint16
	Zones             []string      // globs ([path/filepath.Match]) of zone files, absolute or relative to the process
	NSID              string        // answered to the NSID option (RFC 5001); "" for none
	Version           string        // answered to version.bind CH TXT (RFC 4892, section 3); "" for none
	CookieSecret      []byte        // 16 bytes, for server cookies (RFC 9018); nil: random, drawn by each process
	UDPSize           int           // the largest UDP answer, bytes of DNS message (RFC 9715)
	RateLimit         int           // answers a second to one client prefix over UDP; 0: no limit
	Slip              int           // of the answers over the limit, every Slip-th is sent truncated; 0: none
	TCPIdle           time.Duration // 0: none
	MaxTCPConnections int
	MaxTCPPerClient   int    // of them from one IPv4 address or IPv6 /64
	QueryLog          int    // one of so many queries is logged; 0: none
	Service           uint16 // what its rule steers to: ServiceDNS or higher
}

// maxServers bounds the [[dns]] sections: their services, together with those of a configuration before it, have a
// number each.
const maxServers = 128

// KeepServices returns c with its DNS servers and listeners under service numbers that go with those of old: a server
// that old has, by name, and a listener that it has, by mss, keeps its number, and the others get numbers that old does
// not use. A packet that is judged by old's rules while c comes into force then never reaches another socket than it was
// meant for.
func (c *Config) KeepServices(old *Config) *Config {
	numbers := make(map[string]uint16)
	used := make(map[uint16]bool)
	for _, s := range old.DNS {
		numbers[s.Name], used[s.Service] = s.Service, true
	}
	kept := *c
	kept.Routes = keepListeners(c.Routes, old.Routes)
	kept.DNS = slices.Clone(c.DNS)
	free := ServiceDNS
	for i := range kept.DNS {
		s := &kept.DNS[i]
		if number, known := numbers[s.Name]; known {
			s.Service = number
			continue
		}
		for used[free] {
			free++
		}
		s.Service, used[free] = free, true
	}
	return &kept
}

var dnsKeys = []key[DNS]{
	{"name", single(func(s *DNS) *string { return &s.Name }, parseName)},
	{"prefix", filled(func(s *DNS) *[]netip.Prefix { return &s.Prefixes }, parsePrefix, leaveOutPrefix)},
	{"port", setDNSPort},
	{"zones", filled(func(s *DNS) *[]string { return &s.Zones }, parseGlob, nameZones)},
	{"nsid", single(func(s *DNS) *string { return &s.NSID }, parseDNSText)},
	{"version", single(func(s *DNS) *string { return &s.Version }, parseDNSText)},
	{"cookie_secret", single(func(s *DNS) *[]byte { return &s.CookieSecret }, parseSecret)},
	{"udp_size", integer(func(s *DNS) *int { return &s.UDPSize }, 512, 65507)},
	{"rate_limit", integer(func(s *DNS) *int { return &s.RateLimit }, 0, 1_000_000)},
	{"slip", integer(func(s *DNS) *int { return &s.Slip }, 0, 10)},
	{"tcp_idle_timeout", single(func(s *DNS) *time.Duration { return &s.TCPIdle }, parseTimeout)},
	{"max_tcp_connections", integer(func(s *DNS) *int { return &s.MaxTCPConnections }, 1, maxConnections)},
	{"max_tcp_per_client", integer(func(s *DNS) *int { return &s.MaxTCPPerClient }, 1, maxConnections)},
	{"query_log", single(func(s *DNS) *int { return &s.QueryLog }, parseSample)},
}

const nameZones = `name at least one, as in zones = ["zones/*.zone"]`

// dns decodes the number-th [[dns]], counted from 1, and checks it by itself.
func (d *decoder) dns(s *section, number int) (DNS, reading) {
	server := DNS{Line: s.line, Service: ServiceDNS + uint16(number) - 1}
	got := decode(d, s, defaults()["dns"], dnsKeys, &server)
	if !got.given("name") {
		server.Name = "dns"
		if number > 1 {
			server.Name += "-" + strconv.Itoa(number)
		}
	}
	if number > maxServers {
		d.fault(value{key: "dns", line: s.line}, "", "there are more than %d DNS servers", maxServers)
	}
	if !got.given("zones") {
		d.fault(got.at("zones"), nameZones, "the server has no zones")
	}
	for i, glob := range server.Zones {
		server.Zones[i] = d.globBeside(glob)
	}
	return server, got
}

// globBeside returns a pattern as seen from the file's directory, whose own name is no pattern.
func (d *decoder) globBeside(glob string) string {
	if filepath.IsAbs(glob) {
		return glob
	}
	plain := strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)
	return filepath.Join(plain.Replace(filepath.Dir(d.file)), glob)
}

// rule returns what the server claims.
func (s DNS) rule() rule.Rule {
	return rule.Rule{
		Name:     s.Name,
		Prefixes: s.Prefixes,
		Ports:    []rule.PortRange{{First: s.Port, Last: s.Port}},
		Verdict:  rule.Steer,
		Service:  s.Service,
		Fallback: rule.NoService,
	}
}

func setDNSPort(d *decoder, v value, s *DNS) {
	port := 0
	integer(func(*DNS) *int { return &port }, 1, 65535)(d, v, s)
	s.Port = uint16(port)
}

func parseGlob(text string) (string, *finding) {
	if _, err := filepath.Match(text, ""); err != nil || text == "" {
		return "", refuse(`as in "zones/*.zone"`, "%q is no file pattern", text)
	}
	return text, nil
}

// parseDNSText reads a text that an answer carries in one character-string (RFC 1035, section 3.3).
func parseDNSText(text string) (string, *finding) {
	if len(text) > 255 {
		return "", refuse("", "the text has %d bytes; 255 are the limit", len(text))
	}
	return text, nil
}

// parseSecret reads the 128 bits that server cookies are keyed with (RFC 9018, section 4.4), "random" as nil.
func parseSecret(text string) ([]byte, *finding) {
	if text == "random" {
		return nil, nil
	}
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != 16 {
		return nil, refuse(`write 32 hexadecimal digits, the same on every node, or "random"`, "the secret is no 128 bits")
	}
	return secret, nil
}

// parseSample reads "none" as 0, "all" as 1 and "1/N" as N.
func parseSample(text string) (int, *finding) {
	switch text {
	case "none":
		return 0, nil
	case "all":
		return 1, nil
	}
	rate, ok := strings.CutPrefix(text, "1/")
	if n, err := strconv.Atoi(rate); ok && err == nil && 1 <= n && n <= 1_000_000_000 {
		return n, nil
	}
	return 0, refuse(`write "none", "all" or a share like "1/1000"`, "%q is no share of the queries", text)
}
