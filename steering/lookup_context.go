package steering

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// lookupContext is struct bpf_sk_lookup of linux/bpf.h, as BPF_PROG_TEST_RUN takes and returns it.
type lookupContext struct {
	Cookie         uint64 // out: of the selected socket
	Family         uint32
	Protocol       uint32
	RemoteIP4      [4]byte
	RemoteIP6      [16]byte
	RemotePort     [2]byte // network byte order
	_              [2]byte
	LocalIP4       [4]byte
	LocalIP6       [16]byte
	LocalPort      uint32 // host byte order
	IngressIfindex uint32
	_              uint32
}

func newLookupContext(p rule.Protocol, src netip.Addr, dst netip.AddrPort) (*lookupContext, error) {
	src, to := src.Unmap(), dst.Addr().Unmap()
	switch {
	case p != rule.TCP && p != rule.UDP:
		return nil, fmt.Errorf("a packet is of tcp or udp, not of %s", p)
	case !to.IsValid():
		return nil, fmt.Errorf("destination %s has no address", dst)
	case src.IsValid() && src.Is4() != to.Is4():
		return nil, fmt.Errorf("source %s and destination %s are of different IP versions", src, to)
	}
	ctx := &lookupContext{Protocol: uint32(p), LocalPort: uint32(dst.Port())}
	binary.BigEndian.PutUint16(ctx.RemotePort[:], askPort)
	if to.Is4() {
		ctx.Family, ctx.LocalIP4 = unix.AF_INET, to.As4()
		if src.IsValid() {
			ctx.RemoteIP4 = src.As4()
		}
		return ctx, nil
	}
	ctx.Family, ctx.LocalIP6 = unix.AF_INET6, to.As16()
	if src.IsValid() {
		ctx.RemoteIP6 = src.As16()
	}
	return ctx, nil
}

// askPort is the source port of packets that exist in questions only. No rule looks at it.
const askPort = 49152
