package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// batches is how many batches make one measurement of packets: some 20 ms, and new flows enough to fill a sixteenth of
// a connection tracking table of the usual size. More rounds tell more than longer measurements.
const batches = 4

// measuredPackets is how many packets make one measurement.
const measuredPackets = batches * batch

// measurePackets injects packets and returns the CPU time that the server's host spends to receive one, up to the
// socket's queue. The queue is emptied between the batches, off the clock.
func (b *steerBed) measurePackets(s stream) (Sample, error) {
	return b.measureInjection(s, b.discardAll)
}

// measureInjection injects packets and returns the CPU time for one; received tells after each batch how many have
// arrived in it.
func (b *steerBed) measureInjection(s stream, received func() (int, error)) (sample Sample, err error) {
	if err := s.rewind(xdpPass); err != nil {
		return sample, err
	}
	var took, alone time.Duration
	arrived := 0
	err = onOneCPU(b.server, func() error {
		for range batches {
			d, err := s.generator.inject(b.ifindex)
			if err != nil {
				return err
			}
			n, err := received()
			if err != nil {
				return err
			}
			took += d
			arrived += n
		}
		sent, err := s.made()
		if err != nil {
			return err
		}
		sample = value(float64(took.Nanoseconds()) / float64(sent))
		sample.Lost = sent - arrived
		alone, err = s.injectNothing(b.ifindex)
		return err
	})
	sample.Generator = float64(alone.Nanoseconds()) / batch / sample.Values[0]
	return sample, err
}

// injectNothing makes a batch of packets and throws them away: what the generator costs by itself, which is part of
// every figure.
func (s stream) injectNothing(ifindex int) (time.Duration, error) {
	if err := s.rewind(xdpDrop); err != nil {
		return 0, err
	}
	return s.generator.inject(ifindex)
}

func (b *steerBed) discardAll() (total int, err error) {
	for _, sockets := range [][]int{b.receivers, b.flows} {
		for _, fd := range sockets {
			n, err := discard(fd)
			if err != nil {
				return total, err
			}
			total += n
		}
	}
	return total, nil
}

// measureFlood injects SYNs, each of which the server's host answers with a SYN cookie, and returns the CPU time for
// one. The answer's way to the client, which drops it, is part of that. A SYN without a cookie is lost.
func (b *steerBed) measureFlood(s stream) (sample Sample, err error) {
	const always, onOverflow = "2", "1" // net.ipv4.tcp_syncookies; the latter is the kernel's default
	if err := b.server.Sysctl("net.ipv4.tcp_syncookies", always); err != nil {
		return sample, err
	}
	before, err := b.cookies()
	if err != nil {
		return sample, err
	}
	if sample, err = b.measureInjection(s, func() (int, error) { return 0, nil }); err != nil {
		return sample, err
	}
	after, err := b.cookies()
	if err != nil {
		return sample, err
	}
	sample.Lost -= after - before
	return sample, b.server.Sysctl("net.ipv4.tcp_syncookies", onOverflow)
}

// cookies returns how many SYN cookies the server's host has sent.
func (b *steerBed) cookies() (n int, err error) {
	err = b.server.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		n, err = counter(string(text), "TcpExt:", "SyncookiesSent")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count SYN cookies: %w", err)
	}
	return n, nil
}

// counter returns a value of a file like /proc/net/netstat, which has a line of names and a line of values in the same
// order for each group.
func counter(text, group, name string) (int, error) {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != group {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range min(len(names), len(f)) {
			if names[i] == name {
				return strconv.Atoi(f[i])
			}
		}
	}
	return 0, fmt.Errorf("no counter %s of %s", name, group)
}
