package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// proxyLoad is what one thread of the client does in a measurement.
type proxyLoad interface {
	// open makes ready, off the clock.
	open() error
	// run makes load until end, and then waits until nothing is under way.
	run(end time.Time) error
	// close ends what open has made.
	close() error
	// count returns what run has done.
	count() *tally
}

// tally is what a load has done: units of the work, and what went wrong.
type tally struct{ done, lost, errors int }

// patience is how long a client waits for an answer before it counts as lost.
const patience = 3 * time.Second

// measureLoads runs loads, one on each CPU, at once, and returns the time they took with the tally of all.
func (b *proxyBed) measureLoads(d time.Duration, loads ...proxyLoad) (took time.Duration, total tally, c Cost, err error) {
	on := func(do func(proxyLoad) error) error {
		return onEachCPU(b.Client, len(loads), func(part int) error { return do(loads[part]) })
	}
	defer func() { err = errors.Join(err, on(proxyLoad.close)) }()
	if err := on(proxyLoad.open); err != nil {
		return 0, total, c, err
	}
	quiet()
	meter := b.meter()
	if err := meter.start(); err != nil {
		return 0, total, c, err
	}
	start := time.Now()
	if err := on(func(l proxyLoad) error { return l.run(start.Add(d)) }); err != nil {
		return 0, total, c, err
	}
	took = time.Since(start)
	for _, l := range loads {
		total.done += l.count().done
		total.lost += l.count().lost
		total.errors += l.count().errors
	}
	if total.done == 0 {
		return 0, total, c, fmt.Errorf("nothing came through, %d lost, %d errors", total.lost, total.errors)
	}
	c, err = meter.stop(total.done)
	return took, total, c, err
}

// poller waits for events of the connections of one load.
type poller struct {
	epoll  int
	events []unix.EpollEvent
}

func newPoller() (p poller, err error) {
	p.events = make([]unix.EpollEvent, 256)
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return p, fmt.Errorf("open epoll: %w", err)
	}
	return p, nil
}

// wait returns the events that have come; none after a time of at most d.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.epoll, p.events, int(d.Milliseconds()))
		if err == nil {
			return p.events[:n], nil
		}
		if err != unix.EINTR { // by which Go's scheduler gets attention
			return nil, fmt.Errorf("wait for events: %w", err)
		}
	}
}

// add watches a descriptor; index comes back with its events, in Pad.
func (p *poller) add(fd, index int, events uint32) error { return watch(p.epoll, fd, events, index) }

func (p *poller) close() error { return unix.Close(p.epoll) }

// dial begins a connection. It is not blocking, and an RST ends it: so the client keeps no port in TIME_WAIT.
func dial(to netip.AddrPort) (int, error) {
	domain := unix.AF_INET6
	if to.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if connect := unix.Connect(fd, sockaddr(to)); connect != unix.EINPROGRESS {
		err = errors.Join(err, connect)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(fd))
	}
	return fd, nil
}

// reset closes a connection by an RST.
func reset(fd int) error { return errors.Join(resetAtClose(fd), unix.Close(fd)) }

// resetAtClose has close(2) of a connection send an RST (socket(7), SO_LINGER).
func resetAtClose(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// readyTCP reports whether the upstream answers on every family.
func (b *proxyBed) readyTCP() error {
	return b.Client.Do(func() error {
		for _, f := range proxyFamilies {
			l := &tcpRequests{to: netip.AddrPortFrom(f.dialled, echoPort), connections: 1, answer: requestSize}
			if err := errors.Join(l.open(), l.close()); err != nil {
				return err
			}
		}
		return nil
	})
}

// errNoAnswer is what a load that waits in vain returns.
var errNoAnswer = fmt.Errorf("no answer in %v: %w", patience, os.ErrDeadlineExceeded)
