package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"anyport/bench/netlab"
)

// dial opens a TCP connection from a namespace. All its later work has the deadline of these tests.
func dial(ns *netlab.Namespace, to netip.AddrPort) (c *net.TCPConn, err error) {
	err = ns.Do(func() error {
		c, err = dialHere(to)
		return err
	})
	return c, err
}

// dialHere is dial for a goroutine that is in the namespace already.
func dialHere(to netip.AddrPort) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", to.String(), deadline)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(deadline))
	return c.(*net.TCPConn), nil
}

// exchange sends payload, ends its side and returns all that comes back.
func exchange(c *net.TCPConn, payload []byte) ([]byte, error) {
	sent := make(chan error, 1)
	go func() { sent <- sendAll(c, payload) }()
	got, err := io.ReadAll(c)
	return got, errors.Join(<-sent, err)
}

func sendAll(c *net.TCPConn, payload []byte) error {
	if _, err := c.Write(payload); err != nil {
		return err
	}
	return c.CloseWrite()
}

// tryEcho opens a connection to a destination whose upstream sends greeting and then echoes, and checks every byte.
func tryEcho(ns *netlab.Namespace, to netip.AddrPort, greeting string, payload []byte) error {
	return ns.Do(func() error { return tryEchoHere(to, greeting, payload) })
}

func tryEchoHere(to netip.AddrPort, greeting string, payload []byte) error {
	c, err := dialHere(to)
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := exchange(c, payload)
	if err != nil {
		return fmt.Errorf("echo by %s: %w", to, err)
	}
	if want := append([]byte(greeting), payload...); !bytes.Equal(got, want) {
		return fmt.Errorf("echo by %s: %d bytes came back (%.60q), not the %d sent (%.60q)",
			to, len(got), got, len(want), want)
	}
	return nil
}

// expectGreeting reads what the upstream says first.
func expectGreeting(c *net.TCPConn, want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("greeting of %s is %q, not %q", c.RemoteAddr(), got, want)
	}
	return nil
}

// pingPong sends want and reads as much into got, which must then be the same.
func pingPong(c *net.TCPConn, want, got []byte) error {
	c.SetDeadline(time.Now().Add(deadline))
	if _, err := c.Write(want); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(want, got) {
		return fmt.Errorf("echo differs: %.60q", got)
	}
	return nil
}

// packetConn opens an unconnected UDP socket in a namespace.
func packetConn(ns *netlab.Namespace) (c *net.UDPConn, err error) {
	err = ns.Do(func() error {
		c, err = net.ListenUDP("udp", nil)
		return err
	})
	return c, err
}

// tryPacket sends a datagram and checks that the first one that comes back is the same, from where it was sent to.
func tryPacket(c *net.UDPConn, to netip.AddrPort, payload []byte) error {
	if _, err := c.WriteToUDPAddrPort(payload, to); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(deadline))
	buf := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		return fmt.Errorf("%d bytes to %s: %w", len(payload), to, err)
	}
	if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != to {
		return fmt.Errorf("reply to %s comes from %s", to, from)
	}
	if !bytes.Equal(buf[:n], payload) {
		return fmt.Errorf("reply of %s has %d bytes (%.60q), not the %d sent (%.60q)", to, n, buf[:n], len(payload), payload)
	}
	return nil
}

// refusal dials a destination of a protocol and returns what the refusal said: syscall.ECONNREFUSED, it is to be.
func refusal(ns *netlab.Namespace, network string, to netip.AddrPort) error {
	return ns.Do(func() error {
		c, err := net.DialTimeout(network, to.String(), deadline)
		if err != nil {
			return err
		}
		defer c.Close()
		if network == "tcp" {
			return errors.New("connected")
		}
		return packetRefusal(c)
	})
}

// packetRefusal sends datagrams until ICMP says that they are refused: the kernel limits how many ICMP errors it sends,
// so not every datagram earns one.
func packetRefusal(c net.Conn) error {
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		if _, err := c.Write([]byte("anyone there?")); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Read(buf)
		if err == nil {
			return fmt.Errorf("answered: %.60q", buf[:n])
		}
		if !errors.Is(err, syscall.EAGAIN) && !isTimeout(err) {
			return err
		}
	}
	return errors.New("no answer and no ICMP error")
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isRefused reports whether err is a refusal by RST or by ICMP port unreachable.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// withPort joins an address and a port.
func withPort(addr netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }
