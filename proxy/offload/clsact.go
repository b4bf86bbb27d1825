package offload

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filter is an Attachment by a filter of the clsact qdisc.
type filter struct{ netlink.BpfFilter }

// Our filters' place on a device: tc sorts by preference, and tells filters of one preference apart by handle. No other
// program is known to use this one, and a replacement touches nothing else.
const (
	filterPreference = 0xa97
	filterHandle     = 1
)

func attachFilter(h *Hook, device int) (Attachment, error) {
	if err := addClsact(device); err != nil {
		return nil, err
	}
	f := filter{newFilter(h, device)}
	if err := netlink.FilterReplace(&f.BpfFilter); err != nil {
		return nil, err
	}
	return &f, nil
}

func newFilter(h *Hook, device int) netlink.BpfFilter {
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if h.Direction == Egress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	return netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: device, Parent: parent, Handle: filterHandle,
			Protocol: unix.ETH_P_ALL, Priority: filterPreference},
		Fd: h.Program.FD(), Name: h.Name, DirectAction: true,
	}
}

// addClsact makes sure that a device has a clsact qdisc. It stays: another program may have added filters to it since.
func addClsact(device int) error {
	attrs := netlink.QdiscAttrs{LinkIndex: device, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "clsact"})
	switch {
	case errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("add clsact qdisc: %w", errors.Join(ebpf.ErrNotSupported, err))
	case err != nil:
		return fmt.Errorf("add clsact qdisc: %w", err)
	}
	return nil
}

// Alive looks for the filter by its name.
func (f *filter) Alive() bool {
	device := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: f.LinkIndex}}
	list, err := netlink.FilterList(device, f.Parent)
	if err != nil {
		return false
	}
	for _, other := range list {
		b, ok := other.(*netlink.BpfFilter)
		if ok && b.Priority == f.Priority && b.Handle == f.Handle && b.Name == f.Name {
			return true
		}
	}
	return false
}

func (f *filter) Detach() error {
	err := netlink.FilterDel(&f.BpfFilter)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil // the device, the filter or its qdisc has gone
	}
	return err
}

func (f *filter) Leave() error { return nil }
