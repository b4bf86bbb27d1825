package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// batches is how many batches make one measurement of packets: some 30 ms, and new flows enough to fill a tenth of a
// connection tracking table of the usual size. More rounds tell more than longer measurements.
const batches = 6

// measurePackets injects packets and returns the CPU time that the server's host spends to receive one, up to the
// socket's queue. The queue is emptied between the batches, off the clock.
func (b *steerBed) measurePackets(s stream) (Sample, error) {
	if err := b.forgetFlows(); err != nil {
		return Sample{}, err
	}
	return b.inject(s, xdpPass)
}

// measureGenerator is measurePackets without receiving: what the generator costs by itself, which is part of every
// figure beside it.
func (b *steerBed) measureGenerator(s stream) (Sample, error) {
	sample, err := b.inject(s, xdpDrop)
	sample.Lost = 0 // they were meant to be dropped
	return sample, err
}

func (b *steerBed) inject(s stream, action uint64) (Sample, error) {
	if err := s.rewind(action); err != nil {
		return Sample{}, err
	}
	var took time.Duration
	received := 0
	err := onOneCPU(b.server, func() error {
		for range batches {
			d, err := s.generator.inject(b.ifindex)
			if err != nil {
				return err
			}
			n, err := b.discardAll()
			if err != nil {
				return err
			}
			took += d
			received += n
		}
		return nil
	})
	if err != nil {
		return Sample{}, err
	}
	sent, err := s.made()
	sample := value(float64(took.Nanoseconds()) / float64(sent))
	sample.Lost = sent - received
	return sample, err
}

// forgetFlows empties the connection tracking table, so that a flow is new in every round and the table never fills.
func (b *steerBed) forgetFlows() error {
	if !b.conntrack {
		return nil
	}
	err := b.server.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("flush connection tracking: %w", err)
	}
	return nil
}

func (b *steerBed) discardAll() (int, error) {
	total, err := discard(b.receiver)
	if err != nil {
		return total, err
	}
	for _, fd := range b.flows {
		n, err := discard(fd)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// connections is how many TCP connections make one measurement.
const connections = 400

// measureConnections opens and closes TCP connections from the client, one after the other, and returns the time that
// one takes from connect to the last close. One thread is client and server, so that every packet is handled on its
// CPU and nothing waits for another one.
func (b *steerBed) measureConnections(rng *rand.Rand) (Sample, error) {
	if err := b.forgetFlows(); err != nil {
		return Sample{}, err
	}
	failed := 0
	var took time.Duration
	err := onOneCPU(b.client, func() error {
		start := time.Now()
		for range connections {
			to := netip.AddrPortFrom(b.family.destination(rng.IntN(destinations)), steerPort)
			if err := b.connectOnce(to); err != nil {
				failed++
				if failed > connections/10 {
					return err
				}
			}
		}
		took = time.Since(start)
		return nil
	})
	sample := value(float64(took.Nanoseconds()) / connections)
	sample.Errors = failed
	return sample, err
}

// connectOnce connects from the calling thread's namespace, accepts, and closes, the client first.
func (b *steerBed) connectOnce(to netip.AddrPort) error {
	domain := unix.AF_INET6
	if to.Addr().Is4() {
		domain = unix.AF_INET
	}
	client, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, sockaddr(to)); err != nil {
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	server, _, err := unix.Accept4(b.listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept a connection to %s: %w", to, err)
	}
	if err := unix.Shutdown(client, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("close a connection to %s: %w", to, err)
	}
	return unix.Close(server)
}
