package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"anyport/bench/netlab"
)

// tracked says what connection tracking does in a subject. Tracking a new flow costs more once the table is full: the
// kernel looks for an entry to evict each time (early_drop, net/netfilter/nf_conntrack_core.c, Linux 6.18).
type tracked int

const (
	untracked tracked = iota
	trackedNotFull
	trackedFull
)

// conntrackRules make the kernel track every connection, and do what nearly every host's firewall does with it. They
// are the same for every mode.
const conntrackRules = `
table inet tracking {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state invalid drop
	}
}
`

// trackingTable is what the host lets each namespace have: nf_conntrack_max is read-only in namespaces other than the
// first one, and its value is for each of them.
type trackingTable struct {
	max  int // entries
	fill int // packets that are sent to fill it; 0 if it is too large for that
}

// mostFill keeps the table that is filled within some 200 MB of kernel memory.
const mostFill = 1 << 19

// readTracking reads the size of the table in a namespace where connections are tracked, because the file is only there
// once the kernel has loaded the module. Without nft there is no table.
func (s *steerRun) readTracking() error {
	if missingProgram("nft", "nftables") != "" {
		return nil
	}
	ns, err := s.lab.Add("connection tracking of " + s.family.name)
	if err != nil {
		return err
	}
	if err := runIn(ns, conntrackRules, "nft", "-f", "-"); err != nil {
		return err
	}
	if s.tracking.max, err = netfilterSysctl(ns, "nf_conntrack_max"); err != nil {
		return err
	}
	if s.tracking.max <= mostFill {
		s.tracking.fill = s.tracking.max + batch // and some that find it full
	}
	return nil
}

// cannot says why the table cannot be full, or not be full, or "".
func (t *trackingTable) cannot(how tracked) string {
	switch {
	case how == trackedNotFull && t.max < 2*measuredPackets:
		return fmt.Sprintf("nf_conntrack_max is %d: a measurement fills the table", t.max)
	case how == trackedFull && t.fill == 0:
		return fmt.Sprintf("nf_conntrack_max is %d: more than this suite fills", t.max)
	}
	return ""
}

// track has the server's host track connections.
func (b *steerBed) track(t *trackingTable) error {
	b.tracking = t
	return runIn(b.server, conntrackRules, "nft", "-f", "-")
}

// measureTracked is measure on an empty or a full table. It takes care that the table was not full or full all the
// time, and empties it afterwards: the kernel's hash table is common to all namespaces, and what one of them leaves in
// it makes the others slower.
func (b *steerBed) measureTracked(how tracked, fill stream, measure func() (Sample, error)) (sample Sample, err error) {
	if how == trackedFull {
		if err := b.fillTable(fill); err != nil {
			return sample, err
		}
	}
	if sample, err = measure(); err != nil {
		return sample, err
	}
	entries, err := netfilterSysctl(b.server, "nf_conntrack_count")
	if err != nil {
		return sample, err
	}
	// A full table swings about its bound: an entry is evicted before the next one comes in.
	if full := entries > b.tracking.max-batch; full != (how == trackedFull) {
		return sample, fmt.Errorf("the connection tracking table has %d entries of %d", entries, b.tracking.max)
	}
	return sample, b.forgetFlows()
}

// fillTable injects more new flows than the table holds.
func (b *steerBed) fillTable(s stream) error {
	if err := s.rewind(xdpPass); err != nil {
		return err
	}
	return onOneCPU(b.server, func() error {
		for range s.frames / batch {
			if _, err := s.generator.inject(b.ifindex); err != nil {
				return err
			}
		}
		_, err := b.discardAll()
		return err
	})
}

func (b *steerBed) forgetFlows() error {
	err := b.server.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("flush connection tracking: %w", err)
	}
	return nil
}

// netfilterSysctl reads a number below net.netfilter in a namespace.
func netfilterSysctl(ns *netlab.Namespace, name string) (n int, err error) {
	err = ns.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
		if err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read net.netfilter.%s: %w", name, err)
	}
	return n, nil
}
