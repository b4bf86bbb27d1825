package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// udpBareProxy is the name of the helper that moves datagrams between two sockets and does nothing else: how fast that
// is, is how fast a proxy on sockets can be. It has one upstream, to which its socket is connected, so that the kernel
// need not look for a route; no flows, no port for each of them and no timeouts. Whose an answer is it knows by the
// number that the datagrams of the udp suite begin with.
const udpBareProxy = "udp-bare-proxy"

// serveUDPBareProxy forwards between pairs of addresses, to listen on and to send to, until a system call fails.
func serveUDPBareProxy(addresses []string) error {
	var g errgroup.Group
	for i := 0; i+1 < len(addresses); i += 2 {
		f, err := newBareForwarder(addresses[i], addresses[i+1])
		if err != nil {
			return err
		}
		g.Go(f.serve)
	}
	return g.Wait()
}

// bareForwarder is such a helper on one address.
type bareForwarder struct {
	listener, upstream int
	poller             poller
	messages           *messages // for both directions: each is sent before the other is read
	clients            [bareClients]bareClient
}

// bareClients is more than the datagrams and trains that a load has under way at a time, and a multiple of them.
const bareClients = 16 * udpWindow

type bareClient struct {
	addr unix.RawSockaddrInet6 // or RawSockaddrInet4
	size uint32
}

func newBareForwarder(listen, upstream string) (f *bareForwarder, err error) {
	from, to := netip.MustParseAddrPort(listen), netip.MustParseAddrPort(upstream)
	f = &bareForwarder{messages: newMessages(udpBatch, 1<<16)}
	if f.listener, err = listenUDPUpstream(from); err != nil {
		return nil, err
	}
	if f.upstream, err = listenUDPUpstream(netip.AddrPortFrom(anyAddr(to), 0)); err != nil {
		return nil, err
	}
	if f.poller, err = newPoller(); err != nil {
		return nil, err
	}
	err = unix.Connect(f.upstream, sockaddr(to))
	for i, fd := range []int{f.listener, f.upstream} {
		err = errors.Join(err, unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1),
			f.poller.add(fd, i, unix.EPOLLIN))
	}
	if to.Port() == udpBulkPort {
		err = errors.Join(err, unix.SetsockoptInt(f.upstream, unix.IPPROTO_UDP, unix.UDP_SEGMENT, segmentSize))
	}
	if err != nil {
		return nil, fmt.Errorf("prepare sockets: %w", err)
	}
	return f, nil
}

// anyAddr is the unspecified address of the family of to.
func anyAddr(to netip.AddrPort) netip.Addr {
	if to.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (f *bareForwarder) serve() error {
	for {
		events, err := f.poller.wait(time.Hour)
		if err != nil {
			return err
		}
		for _, e := range events {
			forward := f.toUpstream
			if e.Pad == 1 {
				forward = f.toClients
			}
			if err := forward(); err != nil {
				return err
			}
		}
	}
}

func (f *bareForwarder) toUpstream() error {
	m := f.messages
	n, err := m.receive(f.listener)
	if err != nil {
		return err
	}
	for i := range n {
		*f.client(i) = bareClient{m.addrs[i], m.msgs[i].hdr.Namelen}
		m.msgs[i].hdr.Namelen = 0
		m.iovs[i].SetLen(int(m.msgs[i].len))
	}
	return m.send(f.upstream, n)
}

func (f *bareForwarder) toClients() error {
	m := f.messages
	n, err := m.receive(f.upstream)
	if err != nil {
		return err
	}
	for i := range n {
		c := f.client(i)
		m.addrs[i], m.msgs[i].hdr.Namelen = c.addr, c.size
		m.iovs[i].SetLen(int(m.msgs[i].len))
	}
	return m.send(f.listener, n)
}

// client returns the place of the client that packet i is from or for.
func (f *bareForwarder) client(i int) *bareClient {
	return &f.clients[binary.BigEndian.Uint64(f.messages.data[i])%bareClients]
}
