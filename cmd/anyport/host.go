package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"anyport/conf"
	"anyport/steering"
)

// hostFacts returns what a configuration is checked against on this host.
func hostFacts() (*conf.Host, error) {
	h, err := steering.ReadHost("")
	if err != nil {
		return nil, err
	}
	facts := &conf.Host{Gateways: h.Gateways}
	for _, a := range h.Addrs {
		facts.Addrs = append(facts.Addrs, conf.HostAddr(a))
	}
	return facts, nil
}

// netnsInode returns the inode of the current network namespace, by which the kernel's own tools name it
// (network_namespaces(7)).
func netnsInode() (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("find the network namespace: %w", err)
	}
	return st.Ino, nil
}

// ipv6Enabled reports whether addresses of IPv6 work on this host (Documentation/networking/ip-sysctl.rst,
// disable_ipv6).
func ipv6Enabled() bool {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err == nil && strings.TrimSpace(string(off)) == "0"
}
