package conf

import (
	"fmt"
	"net/netip"
)

// DemoFile is the File of the configuration that Demo returns.
const DemoFile = "(built-in)"

const demoText = `# What "anyport run" serves without a file.
prefixes = [%s]

[[route]]
name           = "demo"
upstream       = ["%s"]
proxy_protocol = "v2" # tells the upstream the original destination
`

// Demo returns the embedded default: every port of 127.64.0.0/16, and with v6 of fd64::/64, TCP and UDP, goes to
// upstream, which learns the original destination from a PROXY protocol header, version 2. It fails if upstream is
// nothing to dial, or lies in one of these prefixes.
func Demo(upstream netip.AddrPort, v6 bool) (*Config, error) {
	prefixes := `"127.64.0.0/16"`
	if v6 {
		prefixes += `, "fd64::/64"`
	}
	return Parse(DemoFile, fmt.Appendf(nil, demoText, prefixes, upstream), nil)
}
