package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// hostCount is how many hosts hostZone has.
const hostCount = 1000

// hostZone is a zone in which every host has an address of its own, with a version.
func hostZone(version int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN example.\n$TTL 300\n@ SOA ns hostmaster %d 3600 600 86400 300\n", version)
	b.WriteString("@ NS ns\nns A 192.0.2.53\n")
	fmt.Fprintf(&b, "version TXT \"%d\"\n", version)
	for i := range hostCount {
		fmt.Fprintf(&b, "host%d A %s\n", i, hostAddress(i))
	}
	return b.String()
}

func hostAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}) }

// hostQuery returns the packet of a query for a host.
func hostQuery(id uint16, host int) []byte {
	m := new(dns.Msg).SetQuestion(fmt.Sprintf("host%d.example.", host), dns.TypeA)
	m.Id = id
	packet, _ := m.Pack() // of a name like this it cannot fail
	return packet
}

// checkHost returns what is wrong with an answer to hostQuery.
func checkHost(packet []byte, id uint16, host int) error {
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		return err
	}
	want := fmt.Sprintf("host%d.example.", host)
	if m.Id != id || m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Question) != 1 || len(m.Answer) != 1 {
		return fmt.Errorf("wrong answer about %s, ID %d:\n%s", want, id, m)
	}
	a, ok := m.Answer[0].(*dns.A)
	if !ok || m.Question[0].Name != want || a.Hdr.Name != want || a.A.String() != hostAddress(host).String() {
		return fmt.Errorf("wrong answer about %s:\n%s", want, m)
	}
	return nil
}

// askWindow is how many queries askAddresses has under way.
const askWindow = 64

// askAddresses asks each address about a random host, over UDP from one socket. The first answer that is missing, wrong
// or from another address is its error.
func askAddresses(ns *netlab.Namespace, addresses []netip.Addr, rng *rand.Rand) error {
	c, err := packetConn(ns)
	if err != nil {
		return err
	}
	defer c.Close()
	waiting := make(map[uint16]asked)
	buf := make([]byte, 1<<16)
	for next := 0; next < len(addresses) || len(waiting) > 0; {
		for ; next < len(addresses) && len(waiting) < askWindow; next++ {
			q := asked{to: withPort(addresses[next], 53), host: rng.IntN(hostCount)}
			waiting[uint16(next)] = q
			if _, err := c.WriteToUDPAddrPort(hostQuery(uint16(next), q.host), q.to); err != nil {
				return err
			}
		}
		if err := takeAnswer(c, buf, waiting); err != nil {
			return err
		}
	}
	return nil
}

// asked is a query under way.
type asked struct {
	to   netip.AddrPort
	host int
}

func takeAnswer(c *net.UDPConn, buf []byte, waiting map[uint16]asked) error {
	c.SetReadDeadline(time.Now().Add(deadline))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		return fmt.Errorf("%d answers are missing: %w", len(waiting), err)
	}
	id := binary.BigEndian.Uint16(buf)
	q, ok := waiting[id]
	if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); !ok || from != q.to {
		return fmt.Errorf("%s was asked (%v), %s answers", q.to, ok, from)
	}
	delete(waiting, id)
	return checkHost(buf[:n], id, q.host)
}

// askTCP connects to each address, asks about n hosts at once and checks the answers. A connected socket takes answers
// from the address that it dialled and from no other.
func askTCP(ns *netlab.Namespace, addresses []netip.Addr, n int, rng *rand.Rand) error {
	return ns.Do(func() error {
		for _, a := range addresses {
			if err := askConnection(withPort(a, 53), n, rng); err != nil {
				return fmt.Errorf("%s over TCP: %w", a, err)
			}
		}
		return nil
	})
}

func askConnection(to netip.AddrPort, n int, rng *rand.Rand) error {
	c, err := dialHere(to)
	if err != nil {
		return err
	}
	defer c.Close()
	hosts := make([]int, n)
	var stream []byte
	for i := range hosts {
		hosts[i] = rng.IntN(hostCount)
		q := hostQuery(uint16(i), hosts[i])
		stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(q))), q...)
	}
	if _, err := c.Write(stream); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	conn := &dns.Conn{Conn: c}
	for i, host := range hosts {
		size, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if err := checkHost(buf[:size], uint16(i), host); err != nil {
			return err
		}
	}
	return nil
}

// exchangeDNS asks one address about anything, over "udp" or "tcp".
func exchangeDNS(ns *netlab.Namespace, network string, to netip.Addr, q *dns.Msg) (m *dns.Msg, err error) {
	err = ns.Do(func() error {
		c, err := net.DialTimeout(network, withPort(to, 53).String(), deadline)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(deadline))
		conn := &dns.Conn{Conn: c, UDPSize: 4096}
		if err := conn.WriteMsg(q); err != nil {
			return err
		}
		m, err = conn.ReadMsg()
		return err
	})
	return m, err
}
