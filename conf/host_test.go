package conf

import (
	"net/netip"
	"testing"
)

func TestHostConflict(t *testing.T) {
	for prefix, want := range map[string]string{
		"198.18.0.0/20":          "",
		"127.64.0.0/16":          "", // inside the loopback's own subnet, which is no link to anyone
		"127.0.0.0/8":            "contains 127.0.0.1, an address of lo",
		"127.0.0.1/32":           "contains 127.0.0.1, an address of lo",
		"192.0.2.0/24":           "contains 192.0.2.5, an address of eth0",
		"192.0.2.5/32":           "contains 192.0.2.5, an address of eth0",
		"192.0.0.0/16":           "contains 192.0.2.5, an address of eth0",
		"192.0.2.64/26":          "lies inside 192.0.2.0/24, a subnet of eth0",
		"192.0.3.0/24":           "",
		"203.0.113.0/24":         "contains 203.0.113.1, a gateway of the host",
		"203.0.113.128/25":       "",
		"fd64::/64":              "",
		"::1/128":                "contains ::1, an address of lo",
		"2001:db8:1::/64":        "contains 2001:db8:1::5, an address of eth0",
		"2001:db8:1::/48":        "contains 2001:db8:1::5, an address of eth0",
		"2001:db8:1::8000/113":   "lies inside 2001:db8:1::/64, a subnet of eth0",
		"2001:db8:1:1::/64":      "",
		"2001:db8:2::/64":        "contains 2001:db8:2::1, a gateway of the host",
		"2001:db8:2:0:8000::/65": "",
	} {
		if got := testHost.conflict(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("%s %s, want %s", prefix, got, want)
		}
	}
}

// TestAllowOnLink forces what TestBadConfigs/on-link sees refused.
func TestAllowOnLink(t *testing.T) {
	const text = `prefixes = ["192.0.2.0/24", "203.0.113.0/24"]
allow_on_link = true
`
	if _, err := Parse("x.toml", []byte(text), testHost); err != nil {
		t.Errorf("with allow_on_link: %v", err)
	}
}

// TestWithoutHost leaves out what depends on the machine.
func TestWithoutHost(t *testing.T) {
	const text = `prefixes = ["192.0.2.0/24", "203.0.113.0/24"]
udp_sources = ["198.51.100.1:10000-20000"]
[[route]]
upstream = ["10.0.0.5"]
`
	c, err := Parse("x.toml", []byte(text), nil)
	if err != nil || len(c.Warnings) > 0 {
		t.Errorf("without a host: %v, warnings %v", err, c.Warnings)
	}
}
