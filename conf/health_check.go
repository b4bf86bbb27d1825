package conf

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"anyport/conf/rule"
)

// HealthCheck is how a route finds out whether its upstreams are well. The zero value checks nothing.
type HealthCheck struct {
	Type     CheckType
	Interval time.Duration // from the end of one check to the next
	Timeout  time.Duration // for the whole of a check
	Rise     int           // checks in a row that succeed until an upstream is up
	Fall     int           // checks in a row that fail until it is down
	Port     uint16        // 0: the upstream's own
	Send     string        // the bytes to send
	Expect   string        // the bytes that the answer must contain; "": of UDP any, of TCP none
}

// CheckType is what a health check does.
type CheckType uint8

const (
	NoCheck  CheckType = iota
	TCPCheck           // connects, and may send and expect
	UDPCheck           // sends a datagram and expects an answer
)

// String returns the word of the configuration.
func (t CheckType) String() string { return [...]string{"none", "tcp", "udp"}[t] }

// maxCheckBytes bounds what a check sends and expects: a packet of the smallest usual MTU holds it.
const maxCheckBytes = 1024

// healthCheckPath is the table of a health check, which follows the [[route]] that it belongs to.
const healthCheckPath = "route.health_check"

var healthCheckKeys = []key[HealthCheck]{
	{"type", single(func(h *HealthCheck) *CheckType { return &h.Type }, parseCheckType)},
	{"interval", single(func(h *HealthCheck) *time.Duration { return &h.Interval }, parseCheckTime)},
	{"timeout", single(func(h *HealthCheck) *time.Duration { return &h.Timeout }, parseCheckTime)},
	{"rise", integer(func(h *HealthCheck) *int { return &h.Rise }, 1, 100)},
	{"fall", integer(func(h *HealthCheck) *int { return &h.Fall }, 1, 100)},
	{"port", setCheckPort},
	{"send", single(func(h *HealthCheck) *string { return &h.Send }, parseCheckBytes)},
	{"expect", single(func(h *HealthCheck) *string { return &h.Expect }, parseCheckBytes)},
}

var (
	parseCheckType = oneOf(word[CheckType]{"tcp", TCPCheck}, word[CheckType]{"udp", UDPCheck},
		word[CheckType]{"none", NoCheck})
	parseCheckWord = oneOf(word[CheckType]{"tcp", TCPCheck}, word[CheckType]{"none", NoCheck}) // "udp" needs a table
)

// parseCheckTime reads a duration that is long enough for an upstream not to take the checks for a flood.
func parseCheckTime(text string) (time.Duration, *finding) {
	return parseDuration(text, 100*time.Millisecond, maxDuration, "")
}

func setCheckPort(d *decoder, v value, h *HealthCheck) {
	var port int
	integer(func(*HealthCheck) *int { return &port }, 0, 65535)(d, v, h)
	h.Port = uint16(port)
}

// parseCheckBytes reads a text, or with "hex:" in front, bytes.
func parseCheckBytes(text string) (string, *finding) {
	if digits, isHex := strings.CutPrefix(text, "hex:"); isHex {
		raw, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			return "", refuse(`write it like "hex:0d0a"`, "%q is not hexadecimal", text)
		}
		text = string(raw)
	}
	if len(text) > maxCheckBytes {
		return "", refuse("", "it has %d bytes; %d are the limit", len(text), maxCheckBytes)
	}
	return text, nil
}

// setHealthCheck takes one word, or a table, which healthCheck reads.
func setHealthCheck(d *decoder, v value, r *Route) {
	if v.kind == unstable.String {
		single(func(r *Route) *CheckType { return &r.HealthCheck.Type }, parseCheckWord)(d, v, r)
		return
	}
	d.wants(v, unstable.InlineTable)
}

// healthCheck reads the table of a health check, or one that has nothing but a type.
func (d *decoder) healthCheck(r *Route, got reading) {
	if !got.good("health_check") {
		return
	}
	s := got.at("health_check").table
	if s == nil {
		none := newSection(healthCheckPath, got.at("health_check").line)
		s = &none
	}
	word, h := r.HealthCheck.Type, HealthCheck{}
	table := decode(d, s, defaults()[healthCheckPath], healthCheckKeys, &h)
	if table.good("type", "send") && h.Type == UDPCheck && h.Send == "" {
		d.fault(table.at("send"), `write a question that the upstream answers, as in send = "ping"`,
			"a UDP check has nothing to send")
	}
	if h.Type == NoCheck || got.at("health_check").table == nil && word != TCPCheck {
		h = HealthCheck{}
	}
	r.HealthCheck = h
}

// CheckPort returns the port of u to check, or 0 if it has none of its own: where it follows the client's, the route
// must have one port only.
func (r *Route) CheckPort(u Upstream) uint16 {
	switch {
	case r.HealthCheck.Port != 0:
		return r.HealthCheck.Port
	case u.Port != 0 || r.OnePort() != 0:
		return u.DialPort(r.OnePort())
	}
	return 0
}

// OnePort returns the port of a route that has one only, and otherwise 0.
func (r *Route) OnePort() uint16 {
	if len(r.Ports) == 1 && r.Ports[0].First == r.Ports[0].Last {
		return r.Ports[0].First
	}
	return 0
}

// checkHealthCheck wants a port for every upstream that is checked.
func (d *decoder) checkHealthCheck(r Route, got reading) {
	if r.HealthCheck.Type == NoCheck || r.Action != rule.Steer || !got.good("ports", "upstream", "health_check") {
		return
	}
	for _, u := range r.Upstreams {
		if r.CheckPort(u) == 0 {
			d.fault(got.at("health_check"), "set port in [route.health_check]",
				"%q has no port of its own to check", u.Place())
			return
		}
	}
}
