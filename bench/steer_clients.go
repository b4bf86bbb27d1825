package bench

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The works below have a client, which reaches the server over the link. One thread is client and server in turn, so
// that every packet is handled on its CPU and nothing waits for another one. A client cannot be the limit there; its
// share of the time is the same for all subjects.

// How many make one measurement: some 20 ms each.
const (
	connections = 400
	roundTrips  = 1000
	datagrams   = 4000
)

// measureClient does n units of work that a client begins, on one CPU in its namespace, and returns the CPU time of one.
func (b *steerBed) measureClient(n int, unit func() error) (sample Sample, err error) {
	err = onOneCPU(b.client, func() error {
		start := threadTime()
		for range n {
			if err := unit(); err != nil {
				sample.Errors++
				if sample.Errors > n/100 {
					return err
				}
			}
		}
		sample.Values = []float64{float64((threadTime() - start).Nanoseconds()) / float64(n)}
		return nil
	})
	return sample, err
}

// measureConnections opens and closes TCP connections, one after the other: from connect to the last close.
func (b *steerBed) measureConnections(rng *rand.Rand) (Sample, error) {
	return b.measureClient(connections, func() error {
		client, server, err := b.dialTCP(rng)
		if err != nil {
			return err
		}
		defer unix.Close(client)
		if err := unix.Shutdown(client, unix.SHUT_RDWR); err != nil {
			return errors.Join(fmt.Errorf("close a connection: %w", err), unix.Close(server))
		}
		return unix.Close(server)
	})
}

// dialTCP connects to a random destination from the calling thread's namespace, and accepts.
func (b *steerBed) dialTCP(rng *rand.Rand) (client, server int, err error) {
	i := rng.IntN(b.reach())
	to := netip.AddrPortFrom(b.family.destination(i), steerPort)
	if client, err = unix.Socket(b.domain(), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Connect(client, sockaddr(to)); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(client))
	}
	server, err = uninterrupted(func() (int, error) {
		fd, _, err := unix.Accept4(socketOf(b.listeners, i), unix.SOCK_CLOEXEC)
		return fd, err
	})
	if err != nil {
		return -1, -1, errors.Join(fmt.Errorf("accept a connection to %s: %w", to, err), unix.Close(client))
	}
	return client, server, nil
}

// dialUDP returns the two ends of a flow to a random destination. Its server's socket is bound and connected, as
// proxies do that have a socket for each flow.
func (b *steerBed) dialUDP(rng *rand.Rand) (client, server int, err error) {
	to := netip.AddrPortFrom(b.family.destination(rng.IntN(b.reach())), steerPort)
	if client, err = unix.Socket(b.domain(), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Connect(client, sockaddr(to)); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(client))
	}
	from, err := unix.Getsockname(client)
	if err != nil {
		return -1, -1, errors.Join(fmt.Errorf("read the client's address: %w", err), unix.Close(client))
	}
	err = b.server.Do(func() error {
		if server, err = b.bound(unix.SOCK_DGRAM, to); err != nil {
			return err
		}
		if err := unix.Connect(server, from); err != nil {
			return errors.Join(fmt.Errorf("connect to the client: %w", err), unix.Close(server))
		}
		return nil
	})
	if err != nil {
		return -1, -1, errors.Join(err, unix.Close(client))
	}
	return client, server, nil
}

// measurePingPong sends 64 bytes to and fro on one connection or flow.
func (b *steerBed) measurePingPong(dial func(*rand.Rand) (client, server int, err error), rng *rand.Rand) (sample Sample, err error) {
	var client, server int
	err = b.client.Do(func() error {
		if client, server, err = dial(rng); err != nil {
			return err
		}
		return errors.Join(bounded(client), bounded(server))
	})
	if err != nil {
		return sample, err
	}
	message := make([]byte, 64)
	sample, err = b.measureClient(roundTrips, func() error {
		return errors.Join(pass(client, server, message), pass(server, client, message))
	})
	return sample, errors.Join(err, unix.Close(client), unix.Close(server))
}

// pass writes a message on one socket and reads it from another.
func pass(from, to int, message []byte) error {
	if _, err := unix.Write(from, message); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return readAll(to, message)
}

// readAll fills a message with one read.
func readAll(from int, message []byte) error {
	n, err := uninterrupted(func() (int, error) { return unix.Read(from, message) })
	if err == nil && n != len(message) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// readWaiting is readAll on a socket that does not block. The datagram is there already unless another load has the
// kernel hand packets to a thread of its own (ksoftirqd).
func readWaiting(from int, message []byte) error {
	err := readAll(from, message)
	if errors.Is(err, unix.EAGAIN) {
		const patience = 1000 // ms
		event := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}}
		if _, err := uninterrupted(func() (int, error) { return unix.Poll(event, patience) }); err != nil {
			return fmt.Errorf("wait for a datagram: %w", err)
		}
		return readAll(from, message)
	}
	return err
}

// uninterrupted repeats a system call that a signal has interrupted: those of Go's scheduler end a wait that has a
// timeout (signal(7)).
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// measureDatagrams sends datagrams of 64 bytes to random destinations, a new flow each, and reads every one.
func (b *steerBed) measureDatagrams(rng *rand.Rand) (sample Sample, err error) {
	var client int
	err = b.client.Do(func() error {
		if client, err = unix.Socket(b.domain(), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		return nil
	})
	if err != nil {
		return sample, err
	}
	message := make([]byte, 64)
	next := rng.Perm(b.reach())[:min(datagrams, b.reach())] // no flow twice
	turn := 0
	sample, err = b.measureClient(len(next), func() error {
		i := next[turn]
		turn++
		to := netip.AddrPortFrom(b.family.destination(i), steerPort)
		if err := unix.Sendto(client, message, 0, sockaddr(to)); err != nil {
			return fmt.Errorf("send to %s: %w", to, err)
		}
		return readWaiting(socketOf(b.receivers, i), message)
	})
	return sample, errors.Join(err, unix.Close(client))
}

func (b *steerBed) domain() int {
	if b.family.served.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
