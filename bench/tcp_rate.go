package bench

import (
	"math"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tcpRate sends requests at a fixed rate, on connections in turn, and notes how long each answer took from the moment
// at which its request was due: a client that waits for a slow answer before it asks again would not see the rest.
type tcpRate struct {
	tcpRequests
	every time.Duration // from one request to the next
	took  []time.Duration
	due   []time.Time // by connection: of its request under way
	turn  int
}

func newTCPRate(to netip.AddrPort, connections int, perSecond int) *tcpRate {
	l := &tcpRate{
		tcpRequests: tcpRequests{to: to, connections: connections, answer: requestSize},
		every:       time.Second / time.Duration(perSecond), due: make([]time.Time, connections),
	}
	return l
}

func (l *tcpRate) run(end time.Time) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return err
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0 is the default again
	l.answered = func(index int) { l.took = append(l.took, time.Since(l.due[index])) }
	l.took = make([]time.Duration, 0, max(0, time.Until(end)/l.every)+1) // 0: this thread came too late
	for next := time.Now(); ; {
		now, busy := time.Now(), false
		for !busy && !next.After(now) && next.Before(end) {
			if busy = !l.send(next); !busy {
				next = next.Add(l.every)
			}
		}
		if !next.Before(end) && (l.underWay == 0 || now.After(end.Add(patience))) {
			l.lost += l.underWay
			return nil
		}
		wait := next.Sub(now)
		if busy || !next.Before(end) {
			wait = patience
		}
		if err := l.receive(wait); err != nil {
			return err
		}
	}
}

// send asks on the next connection that is free and reports whether there is one. If not, the request waits, which its
// latency shows.
func (l *tcpRate) send(due time.Time) bool {
	for range l.conns {
		l.turn++
		index := l.turn % len(l.conns)
		if c := &l.conns[index]; c.got == l.answer {
			l.due[index] = due
			l.ask(c)
			return true
		}
	}
	return false
}

func (l *tcpRate) receive(d time.Duration) error {
	events, err := l.poller.waitExactly(max(d, time.Microsecond))
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			l.read(int(e.Pad))
		}
	}
	return nil
}

// waitExactly is wait to the nanosecond (epoll_pwait2(2), Linux 5.11).
func (p *poller) waitExactly(d time.Duration) ([]unix.EpollEvent, error) {
	ts := unix.NsecToTimespec(int64(d))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return nil, errno
	}
	if errno != 0 {
		return nil, nil
	}
	return p.events[:n], nil
}

// percentile returns the smallest latency that a share of all is not above.
func (l *tcpRate) percentile(share float64) time.Duration {
	return percentile(slices.Sorted(slices.Values(l.took)), share)
}

// usualPercentile is the median of what percentile is in each stretch of so many answers (all, if there are fewer): what
// a moment has in which the machine was not busy with something else. One in which it was does not count for more.
func (l *tcpRate) usualPercentile(share float64, stretch int) time.Duration {
	var each []time.Duration
	for part := range slices.Chunk(l.took, min(stretch, len(l.took))) {
		if len(part) >= min(stretch, len(l.took)) { // not the rest
			each = append(each, percentile(slices.Sorted(slices.Values(part)), share))
		}
	}
	slices.Sort(each)
	return percentile(each, 0.5)
}

// percentile is the nearest-rank percentile.
func percentile(sorted []time.Duration, share float64) time.Duration {
	return sorted[max(int(math.Ceil(share*float64(len(sorted)))), 1)-1]
}
