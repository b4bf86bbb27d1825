package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tcpIdle are the works of connections that are open and silent.
var tcpIdle = []proxyWork{{
	name: "idle connections", per: "connection", figures: []Figure{
		{"user memory of one", "B", false},
		{"user memory of one that has carried 16 KiB", "B", false},
		{"descriptors of one", "", false},
	}, measure: measureIdle,
}}

// idleConnections take 18,000 descriptors in io.Copy, which has two pipes for each beside the sockets, of 20,000 that a
// process may have. idleFirst are open before memory is first read, so that what a proxy allocates once does not count.
const (
	idleConnections = 3000
	idleFirst       = 64
)

// idleBeds returns the beds of all proxies. TPROXY in front of one changes nothing in its memory.
func idleBeds(beds []*proxyBed) []*proxyBed {
	return without(processes(beds), func(p *proxySubject) bool { return strings.HasSuffix(p.name, behindSuffix) })
}

// measureIdle starts the proxy anew, so that memory it has kept from before hides nothing.
func measureIdle(b *proxyBed, f *proxyFamily, _ time.Duration) (sample Sample, err error) {
	if err := errors.Join(b.stop(), b.start()); err != nil {
		return sample, err
	}
	idle := &idleLoad{to: netip.AddrPortFrom(f.dialled, pagePort)}
	defer func() { err = errors.Join(err, idle.close()) }()
	err = b.Client.Do(func() error { return b.measureIdle(idle, &sample) })
	return sample, err
}

func (b *proxyBed) measureIdle(idle *idleLoad, sample *Sample) error {
	if err := idle.grow(idleFirst, b.server.Pid()); err != nil {
		return err
	}
	if err := idle.carry(); err != nil {
		return err
	}
	empty, _ := memoryOf(b.pids)
	descriptors := countDescriptors(b.pids...)
	if err := idle.grow(idleConnections, b.server.Pid()); err != nil {
		return err
	}
	open, _ := memoryOf(b.pids)
	opened := countDescriptors(b.pids...)
	if err := idle.carry(); err != nil {
		return err
	}
	carried, _ := memoryOf(b.pids)
	n := float64(idleConnections - idleFirst)
	sample.Values = []float64{float64(open-empty) / n, float64(carried-empty) / n, float64(opened-descriptors) / n}
	return nil
}

// idleLoad is connections that do nothing between two calls.
type idleLoad struct {
	to  netip.AddrPort
	fds []int
	buf [pageSize]byte
}

// grow opens connections until there are n, and waits until the upstream has as many.
func (l *idleLoad) grow(n, upstream int) error {
	before, more := settledDescriptors(upstream), n-len(l.fds)
	for len(l.fds) < n {
		fd, err := dial(l.to)
		if err != nil {
			return err
		}
		l.fds = append(l.fds, fd)
		if err := waitFor(fd, unix.POLLOUT); err != nil {
			return err
		}
	}
	for end := time.Now().Add(patience); countDescriptors(upstream) < before+more; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("of %d connections, %d have come to the upstream", more, countDescriptors(upstream)-before)
		}
	}
	return nil
}

// carry has a page come on every connection.
func (l *idleLoad) carry() error {
	for _, fd := range l.fds {
		if n, errno := rawWrite(fd, l.buf[:requestSize]); n != requestSize {
			return fmt.Errorf("send a request: %w", errno)
		}
		for got := 0; got < pageSize; {
			if err := waitFor(fd, unix.POLLIN); err != nil {
				return err
			}
			n, errno := rawRead(fd, l.buf[:])
			if errno != 0 || n == 0 {
				return fmt.Errorf("receive a page: %d, %w", n, errno)
			}
			got += n
		}
	}
	return nil
}

func (l *idleLoad) close() error {
	var errs []error
	for _, fd := range l.fds {
		errs = append(errs, reset(fd))
	}
	return errors.Join(errs...)
}

// waitFor waits until a descriptor is ready.
func waitFor(fd int, events int16) error {
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(ready, int(patience.Milliseconds()))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("wait for a connection: %w", err)
		case n == 0:
			return errNoAnswer
		}
		return nil
	}
}

// settledDescriptors returns how many descriptors a process has open once it has dealt with the connections that have
// ended: when the number has stayed the same for a while.
func settledDescriptors(pid int) int {
	n := countDescriptors(pid)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		now := countDescriptors(pid)
		if now == n {
			break
		}
		n = now
	}
	return n
}

// countDescriptors returns how many descriptors processes have open.
func countDescriptors(pids ...int) (n int) {
	for _, pid := range pids {
		found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		n += len(found)
	}
	return n
}
