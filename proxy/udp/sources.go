package udp

import (
	"errors"
	"fmt"
	"slices"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/sock"
	"anyport/proxy/upstream"
)

// Errors that AddSource returns.
var (
	ErrNoPorts  = errors.New("no port is free")
	ErrOverlaps = errors.New("overlaps ports of the same address")
)

// AddSource makes NAT ports of src.Addr ready for flows, and returns those it got: src.Ports without the ones that a
// UDP socket of this network namespace is bound to, on src.Addr or on the wildcard address. The caller must then have
// datagrams to these ports, and to no others, steered to Options.Replies, and only afterwards give out endpoints with
// that source. A source that is there already is returned as it is.
//
// It returns ErrNoPorts if no port is left, and ErrOverlaps if some of the ports, but not all, were added before.
// Sources are never taken away.
func (e *Engine) AddSource(src conf.UDPSource) ([]rule.PortRange, error) {
	addr := sock.Addr{IP: src.Addr.As16()}
	bound, err := boundPorts(addr)
	if err != nil {
		return nil, fmt.Errorf("add source %s: %w", src.Addr, err)
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for _, b := range e.w.flows.byAddr[addr.IP] {
		if b.wanted == src.Ports {
			return slices.Clone(b.ranges), nil
		}
		if src.Ports.First <= b.wanted.Last && b.wanted.First <= src.Ports.Last {
			return nil, fmt.Errorf("add source %s ports %s: %w", src.Addr, src.Ports, ErrOverlaps)
		}
	}
	ranges := without(src.Ports, bound)
	if len(ranges) == 0 {
		return nil, fmt.Errorf("add source %s ports %s: %w", src.Addr, src.Ports, ErrNoPorts)
	}
	e.w.flows.addBlock(addr, src.Ports, ranges)
	return slices.Clone(ranges), nil
}

// without returns what is left of r without some ports, sorted.
func without(r rule.PortRange, ports map[uint16]bool) []rule.PortRange {
	var left []rule.PortRange
	for p := int(r.First); p <= int(r.Last); p++ {
		n := len(left)
		switch {
		case ports[uint16(p)]:
		case n > 0 && int(left[n-1].Last) == p-1:
			left[n-1].Last = uint16(p)
		default:
			left = append(left, rule.PortRange{First: uint16(p), Last: uint16(p)})
		}
	}
	return left
}

// UseSources says which sources new flows leave from: any of these that is of the upstream's family, or with none, as
// at the beginning, only the endpoint's own, which routing chooses. Sources that were not added count for nothing. Flows
// that are open keep theirs.
func (e *Engine) UseSources(list []conf.UDPSource) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.listed = nil
	if len(list) == 0 {
		return
	}
	e.w.listed = []*natBlock{}
	for _, b := range e.w.flows.blocks {
		src := conf.UDPSource{Addr: b.addr.AddrPort().Addr(), Ports: b.wanted}
		if slices.Contains(list, src) {
			e.w.listed = append(e.w.listed, b)
		}
	}
}

// blockFor returns the block with the most free ports among those that may reach an endpoint, or nil.
func (w *worker) blockFor(e *upstream.Endpoint) *natBlock {
	candidates := w.listed
	if w.listed == nil {
		if !e.Source.IsValid() {
			return nil
		}
		candidates = w.flows.byAddr[e.Source.As16()]
	}
	var best *natBlock
	for _, b := range candidates {
		if b.addr.Is4() == e.Addr.Is4() && (best == nil || len(b.free) > len(best.free)) {
			best = b
		}
	}
	return best
}
