package conf

import (
	"testing"
	"time"

	"anyport/conf/rule"
)

func TestRates(t *testing.T) {
	for text, want := range map[string]rule.Rate{
		``:                                     {},
		`connection_rate_per_source = "none"`:  {},
		`connection_rate_per_source = "100/s"`: {Interval: 10 * time.Millisecond, Burst: 100, Bits4: 24, Bits6: 48},
		`connection_rate_per_source = "30/m"`:  {Interval: 2 * time.Second, Burst: 1, Bits4: 24, Bits6: 48},
		`connection_rate_per_source = "5/h"`:   {Interval: 12 * time.Minute, Burst: 1, Bits4: 24, Bits6: 48},
		"connection_rate_per_source = \"1000000/s\"\nconnection_burst_per_source = 3": {
			Interval: time.Microsecond, Burst: 3, Bits4: 24, Bits6: 48},
	} {
		c := parse(t, "x.toml", `prefixes = ["198.18.0.0/20"]
source_prefix_ipv4 = 24
source_prefix_ipv6 = 48
[[route]]
upstream = ["10.0.0.5"]
`+text)
		set := c.RuleSet()
		if got := set.Rules[0].Rate; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		if _, err := rule.Compile(set); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
