package bench

import (
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// copyProxy is the name of the helper that is the io.Copy proxy.
const copyProxy = "copy-proxy"

// copyProxyCommand makes every port of the tcp suite one of the io.Copy proxy's, on the dialled addresses.
func copyProxyCommand(self string) []string {
	line := []string{self, copyProxy}
	for _, f := range proxyFamilies {
		for _, port := range tcpPorts {
			line = append(line, addrPort(f.dialled, port), addrPort(f.upstream, port))
		}
	}
	return line
}

// serveCopyProxy is the proxy that one writes first: pairs of addresses, to listen on and to dial, and for each
// connection two goroutines of io.Copy, which splices. It returns when a listener fails.
func serveCopyProxy(addresses []string) error {
	var g errgroup.Group
	for i := 0; i+1 < len(addresses); i += 2 {
		ln, err := net.Listen("tcp", addresses[i])
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		g.Go(func() error { return acceptCopies(ln, addresses[i+1]) })
	}
	return g.Wait()
}

func acceptCopies(ln net.Listener, upstream string) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go copyConnection(c.(*net.TCPConn), upstream)
	}
}

func copyConnection(client *net.TCPConn, upstream string) {
	defer client.Close()
	c, err := net.DialTimeout("tcp", upstream, 3*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	server := c.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		copyHalf(server, client)
		close(done)
	}()
	copyHalf(client, server)
	<-done
}

// copyHalf copies one direction to its end. A direction that fails ends the other one, too.
func copyHalf(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite() // the peer may be gone
}
