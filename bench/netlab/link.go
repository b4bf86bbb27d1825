package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a veth pair.
type End struct {
	In    *Namespace
	Name  string         // of the interface, at most 15 bytes
	Addrs []netip.Prefix // the address of the end with the length of the link's network
}

// firstIndex keeps the interface indexes of one end of each pair away from those of the other, which the kernel counts
// from 2 in each namespace. Where both ends of a pair have the same index, Linux 6.18 (linkwatch_urgent_event,
// net/core/link_watch.c) does not see that they are a pair and may take a second to bring the link up.
const firstIndex = 1000

// Connect joins two namespaces by a veth pair of MTU 1500, gives both ends their addresses and waits until the link
// is up.
func (l *Lab) Connect(a, b End) error {
	err := a.In.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Index = a.Name, firstIndex+int(l.links.Add(1))
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: b.Name, PeerNamespace: netlink.NsFd(int(b.In.file.Fd())),
		})
	})
	if err != nil {
		return fmt.Errorf("add veth pair %s - %s: %w", a.Name, b.Name, err)
	}
	if err := errors.Join(a.bringUp(), b.bringUp()); err != nil {
		return err
	}
	return errors.Join(a.waitUp(), b.waitUp())
}

func (e End) bringUp() error {
	err := e.In.Do(func() error {
		link, err := netlink.LinkByName(e.Name)
		if err != nil {
			return err
		}
		for _, addr := range e.Addrs {
			if err := addAddr(link, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		return fmt.Errorf("bring up %s in %s: %w", e.Name, e.In.name, err)
	}
	return nil
}

// waitUp waits for the operational state (RFC 2863), without which IPv6 does not answer on the interface.
func (e End) waitUp() error {
	deadline := time.Now().Add(grace)
	for {
		var state netlink.LinkOperState
		err := e.In.Do(func() error {
			link, err := netlink.LinkByName(e.Name)
			if err == nil {
				state = link.Attrs().OperState
			}
			return err
		})
		if err == nil && state == netlink.OperUp {
			return nil
		}
		if err == nil && time.Now().After(deadline) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return fmt.Errorf("wait for %s in %s to come up, now %s: %w", e.Name, e.In.name, state, err)
		}
		time.Sleep(pollInterval)
	}
}

func addAddr(link netlink.Link, addr netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(addr)}
	if addr.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	return nil
}

// ipNet keeps the host bits: netlink takes an interface's address and its network in one value.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// AddAddr gives an interface of the namespace one more address.
func (n *Namespace) AddAddr(link string, addr netip.Prefix) error {
	return n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return fmt.Errorf("find %s in %s: %w", link, n.name, err)
		}
		return addAddr(l, addr)
	})
}

// AddRoute routes dst through the neighbour via.
func (n *Namespace) AddRoute(dst netip.Prefix, via netip.Addr) error {
	return n.Do(func() error {
		if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}); err != nil {
			return fmt.Errorf("route %s via %s in %s: %w", dst, via, n.name, err)
		}
		return nil
	})
}

// AddLocalRoute makes every address of dst local, as `ip route add local DST dev lo` does.
func (n *Namespace) AddLocalRoute(dst netip.Prefix) error {
	return n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo in %s: %w", n.name, err)
		}
		r := &netlink.Route{
			Dst: ipNet(dst), LinkIndex: lo.Attrs().Index,
			Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
		}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("add local route %s in %s: %w", dst, n.name, err)
		}
		return nil
	})
}

// Sysctl sets a kernel parameter of the namespace, such as "net.ipv4.tcp_syncookies".
func (n *Namespace) Sysctl(key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("set sysctl %s in %s: %w", key, n.name, err)
	}
	return nil
}
