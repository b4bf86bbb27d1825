package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// steerBed is where one subject is measured: a client and a server in namespaces of their own, so that no subject's
// rules, sockets or connection tracking touch another's.
type steerBed struct {
	family         *steerFamily
	client, server *netlab.Namespace
	tracking       *trackingTable // nil: connections are not tracked
	ifindex        int            // of the server's interface that packets are injected into

	// All are made by openSockets.
	plan      socketPlan
	receivers []int // UDP, unconnected: get new flows
	listeners []int // TCP: block, unlike the others
	flows     []int // UDP, connected

	cleanup []func() error // in reverse order
}

// newSteerBed joins a client and a server twice: "link" carries TCP, "inject" gets injected packets, apart because its
// XDP program changes how veth receives, and would make a generated packet of a real one: the client's end of it sends
// none, multicast reports of IPv6 included.
func newSteerBed(lab *netlab.Lab, g *generator, f *steerFamily, name string) (b *steerBed, err error) {
	b = &steerBed{family: f}
	if b.client, err = lab.Add("client of " + name); err != nil {
		return b, err
	}
	if b.server, err = lab.Add("server of " + name); err != nil {
		return b, err
	}
	server, client := f.link[0], f.link[1]
	err = errors.Join(
		lab.Connect(netlab.End{In: b.server, Name: "link", Addrs: []netip.Prefix{server}},
			netlab.End{In: b.client, Name: "link", Addrs: []netip.Prefix{client}}),
		lab.Connect(netlab.End{In: b.server, Name: "inject"}, netlab.End{In: b.client, Name: "inject"}),
	)
	if err == nil {
		err = errors.Join(
			b.client.AddRoute(f.served, server.Addr()),
			b.server.AddRoute(f.clients, client.Addr()),
			b.client.Sysctl("net.ipv6.conf.inject.disable_ipv6", "1"),
			b.server.Sysctl("net.ipv4.conf.all.rp_filter", "0"),
			b.server.Sysctl("net.ipv4.conf.inject.rp_filter", "0"),
			b.server.Do(func() error { return b.prepareInjection(g) }))
	}
	return b, err
}

func (b *steerBed) prepareInjection(g *generator) error {
	device, err := netlink.LinkByName("inject")
	if err != nil {
		return fmt.Errorf("find the interface to inject into: %w", err)
	}
	if err := netlink.LinkSetHardwareAddr(device, net.HardwareAddr(serverMAC[:])); err != nil {
		return fmt.Errorf("set its address: %w", err)
	}
	b.ifindex = device.Attrs().Index
	attached, err := g.attach(b.ifindex)
	if err != nil {
		return err
	}
	b.onClose(attached.Close)
	return nil
}

func (b *steerBed) onClose(f func() error) { b.cleanup = append(b.cleanup, f) }

// close closes the sockets and takes back what the mode has set up outside the namespaces. The lab does the rest.
func (b *steerBed) close() error {
	var errs []error
	for i := len(b.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, b.cleanup[i]())
	}
	b.cleanup = nil
	return errors.Join(errs...)
}

// run runs a command in the server's namespace.
func (b *steerBed) run(stdin string, name string, args ...string) error {
	return runIn(b.server, stdin, name, args...)
}

// runIn runs a command in a namespace; what it says is in the error.
func runIn(ns *netlab.Namespace, stdin string, name string, args ...string) error {
	cmd := ns.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %q: %w: %s", name, args, err, bytes.TrimSpace(out))
	}
	return nil
}

// onOneCPU runs fn in a namespace with its thread bound to the last CPU, where interrupts are least.
func onOneCPU(ns *netlab.Namespace, fn func() error) error {
	return ns.Do(func() (err error) {
		var before, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return fmt.Errorf("read CPU affinity: %w", err)
		}
		one.Set(lastCPU(&before))
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return fmt.Errorf("set CPU affinity: %w", err)
		}
		defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
		runtime.GC() // now, and not in the middle of the measurement
		return fn()
	})
}

func lastCPU(set *unix.CPUSet) int {
	last := 0
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			last = cpu
		}
	}
	return last
}
