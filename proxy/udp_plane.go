package proxy

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/udp"
)

// udpPlane is the UDP data plane: for each worker an engine with two sockets. The zero value is one without workers.
type udpPlane struct {
	clients []*sock.Socket // a group: to steer to the first is to steer to all
	replies []*sock.Socket
	engines []*udp.Engine
}

// openUDPPlane opens the sockets at their homes, with receive buffers of so many bytes, and the engines of some workers.
// The caller closes the plane, also after an error.
func openUDPPlane(at homes, workers, buffer int, opts udp.Options) (p udpPlane, err error) {
	if p.clients, err = sock.ListenUDPGroup(at.clients, workers); err != nil {
		return p, err
	}
	opts.Shared = udp.NewShared()
	for i := range workers {
		replies, err := sock.ListenUDP(at.replies)
		if err != nil {
			return p, err
		}
		p.replies = append(p.replies, replies)
		err = errors.Join(p.clients[i].SetReceiveBuffer(buffer), replies.SetReceiveBuffer(buffer),
			at.prepare(p.clients[i]), at.prepare(replies))
		if err != nil {
			return p, err
		}
		opts.Worker, opts.Clients, opts.Replies = i, p.clients[i], replies
		e, err := udp.New(opts)
		if err != nil {
			return p, err
		}
		p.engines = append(p.engines, e)
	}
	return p, nil
}

// runs returns what runs the engines.
func (p *udpPlane) runs() []func() error {
	var all []func() error
	for _, e := range p.engines {
		all = append(all, e.Run)
	}
	return all
}

func (p *udpPlane) drain(ctx context.Context) error {
	var engines errgroup.Group
	for _, e := range p.engines {
		engines.Go(func() error { return e.Drain(ctx) })
	}
	return engines.Wait()
}

// stop closes the engines.
func (p *udpPlane) stop() error {
	var errs []error
	for _, e := range p.engines {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}

// closeSockets closes the sockets of engines that are closed.
func (p *udpPlane) closeSockets() error {
	var errs []error
	for _, sockets := range [][]*sock.Socket{p.clients, p.replies} {
		for _, s := range sockets {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// share returns the part of a source that flows of a worker leave from: its address with one of equal parts of its
// ports.
func (p *udpPlane) share(src conf.UDPSource, worker int) conf.UDPSource {
	n, workers := int(src.Ports.Last)-int(src.Ports.First)+1, len(p.engines)
	at := func(worker int) uint16 { return uint16(int(src.Ports.First) + n*worker/workers) }
	return conf.UDPSource{Addr: src.Addr, Ports: rule.PortRange{First: at(worker), Last: at(worker+1) - 1}}
}

// addSource adds a source to the engines and returns the ports that each has got. If one of them has got none, the
// others may be added again.
func (p *udpPlane) addSource(src conf.UDPSource) (ports [][]rule.PortRange, err error) {
	for i, e := range p.engines {
		got, err := e.AddSource(p.share(src, i))
		if err != nil {
			return nil, fmt.Errorf("UDP worker %d: %w", i, err)
		}
		ports = append(ports, got)
	}
	return ports, nil
}

func (p *udpPlane) useSources(list []conf.UDPSource) {
	for i, e := range p.engines {
		var shares []conf.UDPSource
		for _, src := range list {
			shares = append(shares, p.share(src, i))
		}
		e.UseSources(shares)
	}
}

// followUpstreams has the engines FollowUpstreams.
func (p *udpPlane) followUpstreams() {
	for _, e := range p.engines {
		e.FollowUpstreams()
	}
}

// followRoutes has the engines FollowRoutes.
func (p *udpPlane) followRoutes(current map[string]*route.Route) {
	for _, e := range p.engines {
		e.FollowRoutes(current)
	}
}

// useOffloader has the engines UseOffloader.
func (p *udpPlane) useOffloader(o udp.Offloader) {
	for _, e := range p.engines {
		e.UseOffloader(o)
	}
}

// kernelDrops returns what the engines' KernelDrops do together.
func (p *udpPlane) kernelDrops() (clients, replies uint64) {
	for _, e := range p.engines {
		c, r := e.KernelDrops()
		clients, replies = clients+c, replies+r
	}
	return clients, replies
}
