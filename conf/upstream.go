package conf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Upstream is one upstream as written: "host", "host:port" or "host:+offset", and its options.
type Upstream struct {
	Addr   netip.Addr // valid if the host was written as an address
	Name   string     // the DNS name otherwise
	Port   uint16     // 0: the original destination's port plus Offset
	Offset uint16     // with Port 0 only
	Weight uint16     // how much it takes beside the others, up to MaxWeight; 0 is 1
	Backup bool       // takes something only while all that are no backups are down
}

// MaxWeight is the largest weight of an upstream, as in HAProxy.
const MaxWeight = 256

// DialPort returns the port to dial for an original destination port. Load has made sure that the sum fits.
func (u Upstream) DialPort(original uint16) uint16 {
	if u.Port != 0 {
		return u.Port
	}
	return original + u.Offset
}

// String returns the upstream as a configuration writes it, with its options.
func (u Upstream) String() string {
	text := u.Place()
	if u.Weight > 1 {
		text += fmt.Sprintf(" weight=%d", u.Weight)
	}
	if u.Backup {
		text += " backup"
	}
	return text
}

// Place returns the upstream as a configuration writes it, without options.
func (u Upstream) Place() string {
	host := u.Name
	if u.Addr.IsValid() {
		host = u.Addr.String()
	}
	if u.Port == 0 && u.Offset == 0 {
		return host
	}
	if u.Addr.Is6() {
		host = "[" + host + "]"
	}
	if u.Port != 0 {
		return fmt.Sprintf("%s:%d", host, u.Port)
	}
	return fmt.Sprintf("%s:+%d", host, u.Offset)
}

// parseUpstream reads a place and what follows it: "10.0.0.5:80 weight=3 backup".
func parseUpstream(text string) (Upstream, *finding) {
	place, options, _ := strings.Cut(text, " ")
	u, f := parsePlace(place)
	if f != nil {
		return Upstream{}, f
	}
	for _, option := range strings.Fields(options) {
		if f := u.parseOption(option); f != nil {
			return Upstream{}, f
		}
	}
	return u, nil
}

func (u *Upstream) parseOption(option string) *finding {
	const twice = "%q: the option is given twice"
	weight, isWeight := strings.CutPrefix(option, "weight=")
	switch {
	case isWeight && u.Weight != 0 || option == "backup" && u.Backup:
		return refuse("", twice, option)
	case isWeight:
		n, err := strconv.ParseUint(weight, 10, 16)
		if err != nil || n < 1 || n > MaxWeight {
			return refuse("", "%q is out of range; weights are 1 to %d", option, MaxWeight)
		}
		u.Weight = uint16(n)
	case option == "backup":
		u.Backup = true
	default:
		return refuse(`behind the address stand "weight=3" and "backup"`, "%q is no option of an upstream", option)
	}
	return nil
}

// parsePlace reads "10.0.0.5", "10.0.0.5:80", "2001:db8::1", "[2001:db8::1]:80", "name", "name:80" or "name:+1000".
func parsePlace(text string) (Upstream, *finding) {
	host, port, f := splitHostPort(text)
	if f != nil {
		return Upstream{}, f
	}
	var u Upstream
	if u.Addr, u.Name, f = parseHost(host); f != nil {
		return Upstream{}, f
	}
	offset, isOffset := strings.CutPrefix(port, "+")
	switch {
	case port == "":
	case isOffset:
		u.Offset, f = parseOffset(offset)
	default:
		u.Port, f = parsePort(port)
	}
	return u, f
}

// splitHostPort parts a host from its port, which is "" where there is none. A bare IPv6 address has colons of its own,
// so with a port it stands in brackets.
func splitHostPort(text string) (host, port string, f *finding) {
	const hint = `write "10.0.0.5", "10.0.0.5:80", "[2001:db8::1]:80", "name:80", or "name:+1000" to add to the port`
	host, port, hasPort := text, "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		if host, rest, ok = strings.Cut(inner, "]"); !ok || !strings.Contains(host, ":") {
			return "", "", refuse(hint, "%q has brackets that do not enclose an IPv6 address", text)
		}
		if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return "", "", refuse(hint, "%q has something other than a port after the address", text)
		}
	} else if strings.Count(text, ":") == 1 {
		host, port, hasPort = strings.Cut(text, ":")
	}
	if host == "" || hasPort && port == "" {
		return "", "", refuse(hint, "%q is no upstream", text)
	}
	return host, port, nil
}

// parseHost reads an address or a DNS name; exactly one of the two results is set.
func parseHost(host string) (netip.Addr, string, *finding) {
	addr, err := netip.ParseAddr(host)
	if err == nil {
		return addr, "", checkUnicast(addr)
	}
	if strings.Contains(host, ":") {
		return netip.Addr{}, "", refuse("an IPv6 address with a port stands in brackets: [2001:db8::1]:80",
			"%q is neither an address nor a name", host)
	}
	return netip.Addr{}, host, checkName(host)
}

// checkName reports what keeps a text from being a DNS name: RFC 1035, section 2.3.4 (sizes) and RFC 1123, section 2.1
// (characters; the last label is not all digits, so that a mistyped address never becomes a name). Underscores are
// let through, as resolvers do.
func checkName(name string) *finding {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		if !isLabel(label) {
			return refuse("", "%q is neither an address nor a DNS name", name)
		}
	}
	if len(name) > 253 {
		return refuse("", "the DNS name %.20q... has %d characters; 253 are the limit", name, len(name))
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return refuse("", "%q is no address, and a DNS name does not end in a number", name)
	}
	return nil
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func parseOffset(text string) (uint16, *finding) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || n == 65535 {
		return 0, refuse("offsets are +1 to +65534", `"+%s" is no port offset`, text)
	}
	return uint16(n), nil
}
