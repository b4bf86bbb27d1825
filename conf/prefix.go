package conf

import (
	"net/netip"
	"strings"
)

// reserved is what no unicast packet from one host to another has as its destination. IPv4 link-local addresses are
// not in it: they need no zone, and some services have one as their well-known address.
var reserved = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("0.0.0.0/32"), "unspecified"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped"},
}

// parsePrefix reads an address prefix in its masked form. A prefix with host bits set comes back masked, beside the
// finding.
func parsePrefix(text string) (netip.Prefix, *finding) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, refusePrefix(text)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, refuse("write it as an IPv4 prefix", "%s is an IPv4-mapped IPv6 prefix", text)
	}
	if p != p.Masked() {
		f := refuse("write "+p.Masked().String(), "%s has host bits set", text)
		f.meant = true
		return p.Masked(), f
	}
	return p, nil
}

// refusePrefix says what is wrong with a text that is no prefix.
func refusePrefix(text string) *finding {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		return refuse("write "+netip.PrefixFrom(addr, addr.BitLen()).String(), "%s has no prefix length", text)
	}
	if strings.Contains(text, "%") {
		return refuse("", "%q has a zone; a prefix has none", text)
	}
	return refuse(`write "198.18.0.0/20" or "2001:db8::/48"`, "%q is no address prefix", text)
}

// parseServed reads a prefix that is to be served.
func parseServed(text string) (netip.Prefix, *finding) {
	p, f := parsePrefix(text)
	if !p.IsValid() {
		return p, f
	}
	if p.Bits() == 0 {
		return netip.Prefix{}, refuse("name the prefixes that are routed to this host", "%s is the default route", p)
	}
	for _, r := range reserved {
		if p.Overlaps(r.prefix) {
			return netip.Prefix{}, refuse("serve unicast prefixes", "%s covers %s addresses", p, r.kind)
		}
	}
	return p, f
}

// checkUnicast reports what keeps an address from being one end of a connection.
func checkUnicast(addr netip.Addr) *finding {
	if addr.Zone() != "" {
		return refuse("use a unicast address that needs no zone", "%s has a zone", addr)
	}
	if addr.Is4In6() {
		return refuse("write "+addr.Unmap().String(), "%s is an IPv4-mapped IPv6 address", addr)
	}
	for _, r := range reserved {
		if r.prefix.Contains(addr) {
			return refuse("use a unicast address that needs no zone", "%s is %s", addr, r.kind)
		}
	}
	return nil
}
