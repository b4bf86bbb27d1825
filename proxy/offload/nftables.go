package offload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// baseChain is a chain of nf_tables that hangs on a hook.
type baseChain struct {
	family      uint8
	table, name string
	hook        uint32
	rules       uint32
	drops       bool // by its policy
}

// skipsChain reports whether packets would pass the chain by, which would do something.
func (d detour) skipsChain(c *baseChain) bool {
	if c.rules == 0 && !c.drops {
		return false
	}
	switch c.family {
	case unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6:
		return slices.Contains(d.inet, c.hook)
	case unix.NFPROTO_NETDEV:
		return d.devices && c.hook == unix.NF_NETDEV_INGRESS // what leaves passes the device's egress hook all the same
	case unix.NFPROTO_BRIDGE:
		return d.devices && c.hook < unix.NF_INET_FORWARD // before routing, and for the host
	}
	return false
}

// nftChains returns the base chains of this network namespace (iptables-nft's are among them).
func nftChains() ([]baseChain, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_UNSPEC, Version: nl.NFNETLINK_V0})
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // the kernel has no nf_tables
	}
	if err != nil {
		return nil, fmt.Errorf("list nf_tables chains: %w", err)
	}
	var chains []baseChain
	for _, answer := range answers {
		c, ok, err := parseChain(answer)
		if err != nil {
			return nil, fmt.Errorf("list nf_tables chains: %w", err)
		}
		if ok {
			chains = append(chains, c)
		}
	}
	return chains, nil
}

// parseChain reads an nfgenmsg and its attributes (linux/netfilter/nf_tables.h), whose numbers are big-endian. It returns
// false for a chain without a hook.
func parseChain(message []byte) (c baseChain, hooked bool, err error) {
	if len(message) < nl.SizeofNfgenmsg {
		return c, false, errors.New("message is too short")
	}
	c.family = message[0]
	attributes, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
	if err != nil {
		return c, false, err
	}
	for _, a := range attributes {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.NFTA_CHAIN_TABLE:
			c.table = nl.BytesToString(a.Value)
		case unix.NFTA_CHAIN_NAME:
			c.name = nl.BytesToString(a.Value)
		case unix.NFTA_CHAIN_USE:
			c.rules, err = number(a.Value)
		case unix.NFTA_CHAIN_POLICY:
			var policy uint32
			policy, err = number(a.Value)
			c.drops = policy == nfDrop
		case unix.NFTA_CHAIN_HOOK:
			hooked = true
			c.hook, err = hookNumber(a.Value)
		}
		if err != nil {
			return c, false, err
		}
	}
	return c, hooked, nil
}

// NF_DROP and NF_INET_INGRESS, linux/netfilter.h.
const (
	nfDrop    = 0
	nfIngress = 5
)

func hookNumber(nested []byte) (uint32, error) {
	attributes, err := nl.ParseRouteAttr(nested)
	if err != nil {
		return 0, err
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.NFTA_HOOK_HOOKNUM {
			return number(a.Value)
		}
	}
	return 0, errors.New("a hook has no number")
}

func number(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, errors.New("an attribute is too short")
	}
	return binary.BigEndian.Uint32(b), nil
}
