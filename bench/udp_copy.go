package bench

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// udpCopyProxy is the name of the helper that is the UDP proxy of goroutine pairs.
const udpCopyProxy = "udp-copy-proxy"

// udpCopyIdle is when that proxy forgets a flow.
const udpCopyIdle = time.Second

// serveUDPCopyProxy is the UDP proxy that one writes first: pairs of addresses, to listen on and to dial; a map of
// flows, each with a connected socket and a goroutine for its answers. It returns when a listener fails.
func serveUDPCopyProxy(addresses []string) error {
	var g errgroup.Group
	for i := 0; i+1 < len(addresses); i += 2 {
		addr, err := net.ResolveUDPAddr("udp", addresses[i])
		if err != nil {
			return err
		}
		upstream, err := net.ResolveUDPAddr("udp", addresses[i+1])
		if err != nil {
			return err
		}
		ln, err := net.ListenUDP("udp", addr)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		_ = ln.SetReadBuffer(udpBuffer) // as far as the host lets it
		p := &udpCopier{ln: ln, upstream: upstream, flows: make(map[netip.AddrPort]*net.UDPConn)}
		g.Go(p.serve)
	}
	return g.Wait()
}

// udpCopier is such a proxy on one address.
type udpCopier struct {
	ln       *net.UDPConn
	upstream *net.UDPAddr

	mu    sync.Mutex // guards the field below
	flows map[netip.AddrPort]*net.UDPConn
}

func (p *udpCopier) serve() error {
	buf := make([]byte, 1<<16)
	for {
		n, client, err := p.ln.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if c := p.flow(client); c != nil {
			_, _ = c.Write(buf[:n]) // a datagram may get lost
		}
	}
}

// flow returns the socket of a client's flow, or nil if there can be none.
func (p *udpCopier) flow(client netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.flows[client]; c != nil {
		return c
	}
	c, err := net.DialUDP("udp", nil, p.upstream)
	if err != nil {
		return nil
	}
	p.flows[client] = c
	go p.answers(c, client)
	return c
}

// answers brings back what the upstream sends until it has been silent for udpCopyIdle.
func (p *udpCopier) answers(c *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 2048)
	var deadline time.Time
	for {
		if now := time.Now(); deadline.Sub(now) < udpCopyIdle/2 {
			deadline = now.Add(udpCopyIdle)
			_ = c.SetReadDeadline(deadline) // a socket that is closed says so below
		}
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		_, _ = p.ln.WriteToUDPAddrPort(buf[:n], client) // a datagram may get lost
	}
	p.mu.Lock()
	delete(p.flows, client)
	p.mu.Unlock()
	c.Close()
}
