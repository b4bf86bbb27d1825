package offload

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// detour is the hooks of the packet filter that packets pass by which a program sends on.
type detour struct {
	inet    []uint32 // NF_INET_*: those of the host
	devices bool     // those of devices and bridges, for what comes in
}

var (
	// detourOfFlows passes by all but FORWARD, where neither way of a flow comes by without it.
	detourOfFlows = detour{[]uint32{unix.NF_INET_PRE_ROUTING, unix.NF_INET_LOCAL_IN, unix.NF_INET_LOCAL_OUT,
		unix.NF_INET_POST_ROUTING, nfIngress}, true}
	// detourOfTrains passes by what sees the host's own packets. The rules there see a train on lo.
	detourOfTrains = detour{[]uint32{unix.NF_INET_LOCAL_OUT, unix.NF_INET_POST_ROUTING}, false}
)

// bypassed returns what of this network namespace's packet filter packets would pass by, in the words of an operator, or
// "" if there is nothing: rules of nf_tables and of iptables, old and new, and IPsec policies, without which
// packets would leave in the clear.
func bypassed(d detour) (string, error) {
	chains, err := nftChains()
	if err != nil {
		return "", err
	}
	for _, c := range chains {
		if d.skipsChain(&c) {
			return fmt.Sprintf("nf_tables chain %s of table %s has rules", c.name, c.table), nil
		}
	}
	for _, l := range legacyFamilies {
		table, err := l.legacyRules(d)
		if err != nil {
			return "", err
		}
		if table != "" {
			return fmt.Sprintf("%s table %s has rules", l.tool, table), nil
		}
	}
	return ipsecPolicy()
}

func ipsecPolicy() (string, error) {
	policies, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT): // the kernel has no IPsec
		return "", nil
	case err != nil:
		return "", fmt.Errorf("list IPsec policies: %w", err)
	case len(policies) > 0:
		return "there are IPsec policies", nil
	}
	return "", nil
}
