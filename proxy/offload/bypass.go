package offload

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bypassed returns what of this network namespace's packet filter forwarded flows would pass by, in the words of an
// operator, or "" if there is nothing: rules of nf_tables and of iptables, old and new, and IPsec policies, without which
// packets would leave in the clear.
func bypassed() (string, error) {
	chains, err := nftChains()
	if err != nil {
		return "", err
	}
	for _, c := range chains {
		if c.skips() {
			return fmt.Sprintf("nf_tables chain %s of table %s has rules", c.name, c.table), nil
		}
	}
	for _, l := range legacyFamilies {
		table, err := l.legacyRules()
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
