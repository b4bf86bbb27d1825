package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// udpUpstream is the name of the helper that is the upstream of the udp suite.
const udpUpstream = "udp-upstream"

// The ports of the udp suite's upstream.
const (
	udpEchoPort = 443  // answers what it gets
	udpOncePort = 5002 // the same, for flows of one datagram each
	udpBulkPort = 5003 // acknowledges trains of datagrams
)

var udpPorts = []int{udpEchoPort, udpOncePort, udpBulkPort}

// serveUDPUpstream serves all udpPorts, on the upstream's own addresses and those that a plain router brings, until a
// system call fails.
func serveUDPUpstream([]string) error {
	var g errgroup.Group
	for _, f := range proxyFamilies {
		for _, addr := range []netip.Addr{f.upstream, f.dialled} {
			for _, port := range udpPorts {
				fd, err := listenUDPUpstream(netip.AddrPortFrom(addr, uint16(port)))
				if err != nil {
					return err
				}
				serve := echoDatagrams
				if port == udpBulkPort {
					serve = acknowledgeTrains
				}
				g.Go(func() error { return serve(fd) })
			}
		}
	}
	return g.Wait()
}

// udpBuffer is room for the receive queue of a socket that everything goes through.
const udpBuffer = 8 << 20

// listenUDPUpstream opens a socket on an address that may not be there.
func listenUDPUpstream(addr netip.AddrPort) (int, error) {
	domain, level, freebind := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	if addr.Addr().Is4() {
		domain, level, freebind = unix.AF_INET, unix.IPPROTO_IP, unix.IP_FREEBIND
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, level, freebind, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, udpBuffer), unix.Bind(fd, sockaddr(addr)))
	if err != nil {
		return -1, fmt.Errorf("open socket on %s: %w", addr, err)
	}
	return fd, nil
}

// udpBatch is how many datagrams one system call moves at most.
const udpBatch = 64

// message is struct mmsghdr (recvmmsg(2)).
type message struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// messages is memory for a batch of packets, and the addresses they come from.
type messages struct {
	msgs  []message
	iovs  []unix.Iovec
	addrs []unix.RawSockaddrInet6 // or RawSockaddrInet4
	data  [][]byte
}

func newMessages(n, size int) *messages {
	m := &messages{make([]message, n), make([]unix.Iovec, n), make([]unix.RawSockaddrInet6, n), make([][]byte, n)}
	for i := range n {
		m.data[i] = make([]byte, size)
		m.iovs[i].Base = &m.data[i][0]
		m.msgs[i].hdr.Iov = &m.iovs[i]
		m.msgs[i].hdr.SetIovlen(1)
		m.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&m.addrs[i]))
	}
	return m
}

// receive waits for packets and returns how many have come; 0 if the socket's timeout has passed.
func (m *messages) receive(fd int) (int, error) {
	for i := range m.msgs {
		m.iovs[i].SetLen(len(m.data[i]))
		m.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.msgs[0])),
			uintptr(len(m.msgs)), unix.MSG_WAITFORONE, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR, unix.ECONNREFUSED: // by which a subject says that it is not there yet
			continue
		}
		return 0, fmt.Errorf("receive: %w", errno)
	}
}

// send sends the first n packets. One that the kernel refuses, such as to a port that is gone, is left out.
func (m *messages) send(fd, n int) error {
	for sent := 0; sent < n; {
		k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.msgs[sent])),
			uintptr(n-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(k)
		case unix.EINTR, unix.EAGAIN, unix.ENOBUFS:
		case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
			sent++
		default:
			return fmt.Errorf("send: %w", errno)
		}
	}
	return nil
}

// echoDatagrams sends every datagram back.
func echoDatagrams(fd int) error {
	m := newMessages(udpBatch, 2048)
	for {
		n, err := m.receive(fd)
		if err != nil {
			return err
		}
		for i := range n {
			m.iovs[i].SetLen(int(m.msgs[i].len))
		}
		if err := m.send(fd, n); err != nil {
			return err
		}
	}
}

// acknowledgeTrains counts the bytes of each train, by client, and sends the head of its first datagram back when it has
// come whole.
func acknowledgeTrains(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
		return fmt.Errorf("set UDP_GRO: %w", err)
	}
	m := newMessages(udpBatch, 1<<16)
	type train struct {
		number uint64
		bytes  int
	}
	trains := make(map[unix.RawSockaddrInet6]*train)
	for {
		n, err := m.receive(fd)
		if err != nil {
			return err
		}
		acks := 0
		for i := range n {
			size, head := int(m.msgs[i].len), m.data[i]
			t := trains[m.addrs[i]]
			if t == nil {
				t = new(train)
				trains[m.addrs[i]] = t
			}
			if number := binary.BigEndian.Uint64(head); number != t.number {
				*t = train{number: number}
			}
			if t.bytes += size; t.bytes >= trainBytes {
				t.bytes = 0
				m.swap(acks, i)
				m.iovs[acks].SetLen(requestSize)
				acks++
			}
		}
		if err := m.send(fd, acks); err != nil {
			return err
		}
	}
}

// swap exchanges two packets.
func (m *messages) swap(i, j int) {
	m.addrs[i], m.addrs[j] = m.addrs[j], m.addrs[i]
	m.data[i], m.data[j] = m.data[j], m.data[i]
	m.iovs[i].Base, m.iovs[j].Base = &m.data[i][0], &m.data[j][0]
	m.msgs[i].len, m.msgs[j].len = m.msgs[j].len, m.msgs[i].len
	m.msgs[i].hdr.Namelen, m.msgs[j].hdr.Namelen = m.msgs[j].hdr.Namelen, m.msgs[i].hdr.Namelen
}
