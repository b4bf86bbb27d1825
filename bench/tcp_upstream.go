package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// tcpUpstream is the name of the helper that is the upstream of the tcp suite.
const tcpUpstream = "tcp-upstream"

// The ports of the upstream: what it does with a connection depends on the one that was dialled.
const (
	echoPort   = 4001 // answers what it gets
	oncePort   = 4002 // answers one request and closes
	pagePort   = 4003 // answers each request by a page
	sinkPort   = 4004 // reads to the end, tells how many bytes there were, and closes
	sourcePort = 4005 // sends until the client goes
)

var tcpPorts = []int{echoPort, oncePort, pagePort, sinkPort, sourcePort}

// requestSize is the length of a request and of a short answer; each begins with its number.
const requestSize = 64

// pageSize is the length of a long answer, which has the request's number at both ends.
const pageSize = 16 << 10

// chunkSize is how much bulk senders write and receivers read at once.
const chunkSize = 256 << 10

// maxDescriptors is more than a process may have open on the machines this is for.
const maxDescriptors = 1 << 16

// serveTCPUpstream serves all tcpPorts, with a thread on each CPU, until a system call fails.
func serveTCPUpstream([]string) error {
	servers := make([]*tcpServer, proxyThreads)
	for i := range servers {
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return fmt.Errorf("open epoll: %w", err)
		}
		servers[i] = &tcpServer{epoll: ep, buf: make([]byte, chunkSize), page: make([]byte, pageSize),
			received: make([]uint64, maxDescriptors)}
	}
	for _, port := range tcpPorts {
		fd, err := listenTCPUpstream(port)
		if err != nil {
			return err
		}
		if err := watch(servers[0].epoll, fd, unix.EPOLLIN, -port); err != nil {
			return err
		}
	}
	var g errgroup.Group
	for i, s := range servers {
		g.Go(func() error { return s.serve(i, servers) })
	}
	return g.Wait()
}

// listenTCPUpstream returns a non-blocking listener of both families. A page fits into its connections' send buffers.
// Those of echoPort and pagePort end by an RST, once the client has gone: else proxies that close first, towards the
// upstream, would keep thousands in TIME_WAIT, and look long for a free port when they next connect.
func listenTCPUpstream(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open listener: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if port == echoPort || port == pagePort {
		err = errors.Join(err, resetAtClose(fd)) // accepted connections inherit it
	}
	if port == pagePort {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8*pageSize))
	}
	err = errors.Join(err, unix.Bind(fd, &unix.SockaddrInet6{Port: port}), unix.Listen(fd, 4096))
	if err != nil {
		return -1, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return fd, nil
}

// watch adds a descriptor to an epoll instance. The port comes back with each event, in Pad; that of a listener is
// negative.
func watch(epoll, fd int, events uint32, port int) error {
	e := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(port)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// tcpServer is one thread of the upstream.
type tcpServer struct {
	epoll     int
	buf, page []byte
	received  []uint64 // by descriptor: bytes on sinkPort
	turn      int      // of the next connection: the first server accepts for all
}

func (s *tcpServer) serve(cpu int, all []*tcpServer) error {
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("set CPU affinity: %w", err)
	}
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for events: %w", err)
		}
		for i := range max(n, 0) {
			fd, port := int(events[i].Fd), int(events[i].Pad)
			if port < 0 {
				if err := s.accept(fd, -port, all); err != nil {
					return err
				}
			} else if !s.handle(fd, port) {
				unix.Close(fd)
			}
		}
	}
}

// accept takes all connections that wait and gives them to the servers in turn.
func (s *tcpServer) accept(listener, port int, all []*tcpServer) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.ECONNABORTED, unix.EINTR:
			continue
		default:
			return fmt.Errorf("accept on port %d: %w", port, err)
		}
		events := uint32(unix.EPOLLIN)
		if port == sourcePort {
			events = unix.EPOLLOUT
		}
		s.turn++
		if err := watch(all[s.turn%len(all)].epoll, fd, events, port); err != nil {
			return err
		}
	}
}

// handle does what is due on a connection and reports whether it stays open.
func (s *tcpServer) handle(fd, port int) bool {
	if port == sourcePort {
		_, errno := rawWrite(fd, s.buf)
		return errno == 0 || errno == unix.EAGAIN
	}
	n, errno := rawRead(fd, s.buf)
	if errno == unix.EAGAIN {
		return true
	}
	if port == sinkPort {
		return s.sink(fd, n, errno)
	}
	if errno != 0 || n == 0 {
		return false
	}
	answer := s.buf[:n]
	if port == pagePort {
		copy(s.page, answer[:8])
		copy(s.page[pageSize-8:], answer[:8])
		answer = s.page
	}
	sent, errno := rawWrite(fd, answer)
	return errno == 0 && sent == len(answer) && port != oncePort
}

// sink counts what has been read; at the end it tells how much there was.
func (s *tcpServer) sink(fd, n int, errno syscall.Errno) bool {
	if errno == 0 && n > 0 {
		s.received[fd] += uint64(n)
		return true
	}
	if errno == 0 {
		_, _ = rawWrite(fd, binary.BigEndian.AppendUint64(nil, s.received[fd])) // the client misses it
	}
	s.received[fd] = 0
	return false
}
