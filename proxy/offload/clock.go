package offload

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// units is a time of CLOCK_MONOTONIC as the flow map has it, or a difference of two: times wrap around.
type units uint32

// unit is TIME_SHIFT of bpf/flows.h.
const unit = time.Duration(1 << 24)

// duration returns a difference, which may be negative.
func (u units) duration() time.Duration { return time.Duration(int32(u)) * unit }

// unitsIn returns d in units, rounded up: what is not 0 does not become 0. The longest timeout of a configuration, 720 h,
// is far from the 2^31 units that differences can have.
func unitsIn(d time.Duration) units { return units((d + unit - 1) / unit) }

// clock tells the time of CLOCK_MONOTONIC without a system call.
type clock struct {
	offset time.Duration // CLOCK_MONOTONIC at start
	start  time.Time
}

func newClock() (clock, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return clock{}, fmt.Errorf("read clock: %w", err)
	}
	return clock{offset: time.Duration(now.Nano()), start: time.Now()}, nil
}

func (c clock) now() units { return units((c.offset + time.Since(c.start)) / unit) }
