package udp

import "time"

// tick is the time since the engine was made in steps of tickLength. 32 bits of it last 34 years.
type tick uint32

// tickLength is how exactly flows know when their last datagram passed. A busy flow is moved in its list at most once
// in each tick.
const tickLength = 250 * time.Millisecond

// ticksIn returns how many ticks have passed for sure once d has: rounded up, and one more because the first had
// begun already.
func ticksIn(d time.Duration) tick {
	return tick((d+tickLength-1)/tickLength) + 1
}

func tickOf(sinceStart time.Duration) tick { return tick(sinceStart / tickLength) }
