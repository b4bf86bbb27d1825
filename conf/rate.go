package conf

import (
	"strconv"
	"strings"
	"time"

	"anyport/conf/rule"
)

// ratePeriods are what a rate can be given for.
var ratePeriods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// maxRate is the most connections a second from one source: as many as one core of today can accept.
const maxRate = 1_000_000

// parseRate reads "100/s", "30/m" or "5/h" as the time from one to the next, and "none" as 0.
func parseRate(text string) (time.Duration, *finding) {
	if text == "none" {
		return 0, nil
	}
	const hint = `write it like "100/s", "30/m" or "5/h"; "none" is no limit`
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	period, known := ratePeriods[unit]
	switch {
	case err != nil || !known:
		return 0, refuse(hint, "%q is no rate", text)
	case n == 0:
		return 0, refuse(hint+`, action = "refuse" admits nobody`, "%q would admit nobody", text)
	case period/time.Duration(n) < time.Second/maxRate:
		return 0, refuse(hint, "%q is too much; %d/s is the most", text, maxRate)
	}
	return period / time.Duration(n), nil
}

// completeRate returns the route's rate with a burst, which by default is what the rate allows in a second.
func (d *decoder) completeRate(r Route, got reading) rule.Rate {
	rate := r.ConnectionRate
	switch {
	case r.Action != rule.Steer || !got.good("connection_rate_per_source", "connection_burst_per_source"):
		return rule.Rate{}
	case rate.Interval == 0 && got.given("connection_burst_per_source"):
		d.warn(got.at("connection_burst_per_source"), "", "has no effect without connection_rate_per_source")
		return rule.Rate{}
	case rate.Interval != 0 && rate.Burst == 0:
		rate.Burst = max(1, int(time.Second/rate.Interval))
	}
	return rate
}

// rate returns what limits a route's new connections, with the networks that the configuration counts by.
func (c *Config) rate(r Route) rule.Rate {
	rate := r.ConnectionRate
	if rate.Interval != 0 {
		rate.Bits4, rate.Bits6 = c.SourceBits4, c.SourceBits6
	}
	return rate
}
