package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// dnsBed is one server with a client, in namespaces of their own.
type dnsBed struct {
	server         *dnsServer
	zone           dnsZone
	client, inside *netlab.Namespace
	process        *netlab.Process
	pids           []int // the server's
	generators     [2]*dnsGenerator
}

// The CPUs of a measurement. On a veth, whoever sends a packet carries it into the other's socket.
const (
	dnsClientCPU = 0
	dnsServerCPU = 1
)

// dnsLinks are the addresses of the link, the server's and the client's.
var dnsLinks = [2][2]netip.Prefix{
	{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("10.1.0.2/24")},
	{netip.MustParsePrefix("fd00:1::1/64"), netip.MustParsePrefix("fd00:1::2/64")},
}

// newDNSBed joins the namespaces of a server that is yet to be started.
func newDNSBed(lab *netlab.Lab, server *dnsServer, zone dnsZone) (b *dnsBed, err error) {
	b = &dnsBed{server: server, zone: zone}
	if b.zone.dir, err = os.MkdirTemp("", "anyport-bench-dns-"); err != nil {
		return b, err
	}
	if b.client, err = lab.Add("client of " + server.name); err != nil {
		return b, err
	}
	if b.inside, err = lab.Add("server " + server.name); err != nil {
		return b, err
	}
	err = lab.Connect(
		netlab.End{In: b.inside, Name: "link", Addrs: []netip.Prefix{dnsLinks[0][0], dnsLinks[1][0]}},
		netlab.End{In: b.client, Name: "link", Addrs: []netip.Prefix{dnsLinks[0][1], dnsLinks[1][1]}})
	for family, prefix := range dnsPrefixes {
		if err == nil {
			err = b.client.AddRoute(prefix, dnsLinks[family][0].Addr())
		}
		if err == nil && !server.routes {
			err = errors.Join(b.inside.AddLocalRoute(prefix),
				b.inside.AddAddr("lo", netip.PrefixFrom(dnsOwn[family], dnsOwn[family].BitLen())))
		}
	}
	if err != nil {
		return b, err
	}
	return b, nil
}

// start starts the server on its CPU and waits until it answers.
func (b *dnsBed) start() error {
	config, err := b.server.write(b.zone)
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", b.server.name, err)
	}
	line := b.server.command(config, b.zone)
	if b.server.program != "" {
		program, err := netlab.FindProgram(line[0])
		if err != nil {
			return err
		}
		line = slices.Concat(program, line[1:])
	}
	pinned := slices.Concat([]string{"-f", fmt.Sprint(dnsPriority), "taskset", "-c", fmt.Sprint(dnsServerCPU)}, line)
	if b.process, err = b.inside.Start("chrt", pinned...); err != nil {
		return err
	}
	if err := b.waitAnswer(); err != nil {
		return withOutput(fmt.Errorf("%s: %w", b.server.name, err), b.server.name, b.process)
	}
	b.pids = groupPids(b.process.Pid())
	return pinThreads(b.pids)
}

// dnsStartTime is more than any server needs to load a zone of a million records.
const dnsStartTime = 60 * time.Second

// waitAnswer asks for the SOA record of the zone until there is an answer.
func (b *dnsBed) waitAnswer() error {
	return b.client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: dnsPort, Addr: dnsOwn[0].As4()}); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		pause := unix.NsecToTimeval(int64(5 * time.Millisecond))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pause); err != nil {
			return fmt.Errorf("set the timeout: %w", err)
		}
		return b.waitSOA(fd)
	})
}

func (b *dnsBed) waitSOA(fd int) error {
	query := newDNSQuery(b.zone.origin, typeSOA, false, dnsQuery{}).packet
	answer := make([]byte, 4096)
	for end := time.Now().Add(dnsStartTime); time.Now().Before(end); {
		select {
		case <-b.process.Done():
			return errors.New("it has ended instead of answering")
		default:
		}
		_ = unix.Send(fd, query, 0) // refused as long as nobody is there
		n, err := unix.Read(fd, answer)
		if err == nil && n > 12 && answer[3]&0x0F == 0 && answer[7] == 1 {
			return nil
		}
		if err != nil && err != unix.EAGAIN {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return errors.New("it does not answer")
}

// stop ends the server: anyport, for one, has something to take away.
func (b *dnsBed) stop() error {
	if b.process == nil {
		return nil
	}
	err := b.process.Signal(syscall.SIGTERM)
	select {
	case <-b.process.Done():
	case <-time.After(10 * time.Second):
		b.process.Kill()
		err = errors.Join(err, fmt.Errorf("%s ignores SIGTERM", b.server.name))
	}
	b.process = nil
	return err
}

func (b *dnsBed) close() error {
	err := b.stop()
	for _, g := range b.generators {
		if g != nil {
			err = errors.Join(err, g.close())
		}
	}
	return errors.Join(err, os.RemoveAll(b.zone.dir))
}
