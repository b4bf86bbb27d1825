package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"anyport/conf/rule"
)

// reservePorts keeps the kernel from giving NAT ports to the host's own sockets, and warns where it cannot.
func (d *daemon) reservePorts() {
	var wanted []rule.PortRange
	for _, ports := range d.server.ReplySources().All() {
		wanted = append(wanted, ports...)
	}
	if err := d.reserved.set(wanted); err != nil {
		d.logger.Warn("reserve ports towards UDP upstreams", "error", err)
	}
	d.warnOfLocalPorts()
}

// warnOfLocalPorts logs NAT ports that the kernel may also give to the host's own UDP sockets. The answers to such a
// socket, unless it is connected, are taken for those of our upstreams.
func (d *daemon) warnOfLocalPorts() {
	var local portSysctls
	if err := local.read("/proc/sys/net/ipv4/"); err != nil {
		d.logger.Warn("look for the host's own ports", "error", err)
		return
	}
	for a, shared := range local.shared(d.server.ReplySources().All()) {
		d.logger.Warn("ports towards UDP upstreams may be given to the host's own sockets, which then lose answers; "+
			"reserve them by sysctl net.ipv4.ip_local_reserved_ports", "address", a, "ports", shared.String())
	}
}

// portSysctls are the ports that the kernel gives to sockets that ask for none (ip-sysctl.rst), of both IP versions.
type portSysctls struct {
	given    rule.PortRange   // ip_local_port_range
	reserved []rule.PortRange // ip_local_reserved_ports: those of them that it does not give
}

// read reads the files in dir.
func (s *portSysctls) read(dir string) error {
	text, err := os.ReadFile(dir + "ip_local_port_range")
	if err != nil {
		return err
	}
	reserved, err := os.ReadFile(dir + "ip_local_reserved_ports")
	if err != nil {
		return err
	}
	return s.parse(string(text), string(reserved))
}

// parse reads "32768\t60999\n" and "8080,9148-9150\n".
func (s *portSysctls) parse(given, reserved string) (err error) {
	if s.given, err = parsePortRange(strings.Join(strings.Fields(given), "-")); err != nil {
		return err
	}
	for _, term := range strings.FieldsFunc(reserved, func(r rune) bool { return r == ',' || r == '\n' }) {
		r, err := parsePortRange(term)
		if err != nil {
			return err
		}
		s.reserved = append(s.reserved, r)
	}
	return nil
}

// parsePortRange reads "7" or "7-9".
func parsePortRange(text string) (r rule.PortRange, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	_, err = fmt.Sscan(first, &r.First)
	_, lastErr := fmt.Sscan(last, &r.Last)
	if err := errors.Join(err, lastErr); err != nil {
		return r, fmt.Errorf("read ports %q: %w", text, err)
	}
	return r, nil
}

// shared returns the first range of each address that holds ports which the kernel gives.
func (s *portSysctls) shared(sources map[netip.Addr][]rule.PortRange) map[netip.Addr]rule.PortRange {
	found := make(map[netip.Addr]rule.PortRange)
	for a, ranges := range sources {
		for _, r := range ranges {
			if _, known := found[a]; !known && s.gives(r) {
				found[a] = r
			}
		}
	}
	return found
}

// gives reports whether the kernel gives one of the ports of r.
func (s *portSysctls) gives(r rule.PortRange) bool {
	next := max(r.First, s.given.First)
	for _, reserved := range s.reserved { // sorted: proc_do_large_bitmap
		if reserved.First <= next && next <= reserved.Last {
			if reserved.Last == 65535 {
				return false
			}
			next = reserved.Last + 1
		}
	}
	return next <= min(r.Last, s.given.Last)
}
