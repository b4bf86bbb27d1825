package steering

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestReadHost reads a namespace with a link, a point-to-point address, and gateways of several kinds.
func TestReadHost(t *testing.T) {
	w := newWorld(t)
	w.addPeer()
	far := netip.MustParseAddr("192.0.2.9")
	err := w.ns.Do(func() error {
		veth, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		near := netip.MustParsePrefix("192.0.2.8/32")
		toFar := &netlink.Addr{IPNet: ipNet(near), Peer: ipNet(netip.PrefixFrom(far, 32))}
		if err := netlink.AddrAdd(veth, toFar); err != nil {
			return err
		}
		other := ipNet(netip.MustParsePrefix("203.0.113.0/24"))
		return netlink.RouteAdd(&netlink.Route{Dst: other, Table: 100, MultiPath: []*netlink.NexthopInfo{
			{LinkIndex: veth.Attrs().Index, Gw: netip.MustParseAddr("10.9.0.3").AsSlice()},
			{LinkIndex: veth.Attrs().Index, Gw: netip.MustParseAddr("10.9.0.4").AsSlice()},
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range [][2]string{{"0.0.0.0/0", "10.9.0.2"}, {"::/0", "fd00:9::2"}} {
		if err := w.ns.AddRoute(netip.MustParsePrefix(route[0]), netip.MustParseAddr(route[1])); err != nil {
			t.Fatal(err)
		}
	}
	host, err := ReadHost(w.opts.Netns)
	if err != nil {
		t.Fatal(err)
	}
	want := []HostAddr{
		{"lo", netip.MustParsePrefix("127.0.0.1/8"), true},
		{"lo", netip.MustParsePrefix("::1/128"), true},
		{"veth0", netip.MustParsePrefix("10.9.0.1/24"), false},
		{"veth0", netip.MustParsePrefix("192.0.2.8/32"), false},
		{"veth0", netip.MustParsePrefix("fd00:9::1/64"), false},
	}
	host.Addrs = slices.DeleteFunc(host.Addrs, func(a HostAddr) bool { return a.Prefix.Addr().IsLinkLocalUnicast() })
	if !reflect.DeepEqual(host.Addrs, want) {
		t.Errorf("addresses %v, want %v", host.Addrs, want)
	}
	var gateways []netip.Addr
	for _, text := range []string{"10.9.0.2", "10.9.0.3", "10.9.0.4", "192.0.2.9", "fd00:9::2"} {
		gateways = append(gateways, netip.MustParseAddr(text))
	}
	if !slices.Equal(host.Gateways, gateways) {
		t.Errorf("gateways %v, want %v", host.Gateways, gateways)
	}
}
