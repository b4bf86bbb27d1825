package rule

import "time"

// Rate bounds how often each network of sources may open a TCP connection. The zero value is no limit. It decides after
// the precedence: a connection over the rate is refused, and no other rule gets it. The kernel's program alone enforces
// it (bpf/rate.h); [Table.Lookup] does not know who came before.
type Rate struct {
	Interval     time.Duration // from one connection of a network to the next, on average; 0: no limit
	Burst        int           // so many may come at once; at least 1
	Bits4, Bits6 int           // addresses that agree in so many first bits are one network, IPv4 and IPv6
}

// Bounds of a Rate: their product fits into the kernel's 64 bits of nanoseconds.
const (
	MaxRateInterval = time.Hour
	MaxRateBurst    = 1_000_000
)

// fault returns what is wrong with the rate, or "".
func (r Rate) fault() string {
	switch {
	case r == Rate{}:
	case r.Interval <= 0 || r.Interval > MaxRateInterval:
		return "interval is not within 1ns and 1h"
	case r.Burst < 1 || r.Burst > MaxRateBurst:
		return "burst is not within 1 and 1000000"
	case r.Bits4 < 0 || r.Bits4 > 32 || r.Bits6 < 0 || r.Bits6 > 128:
		return "networks are not within 0 and 32, 0 and 128 bits"
	}
	return ""
}
