package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// udpFrames makes the Ethernet frames of a client that has as many addresses and ports as there are flows, and reads
// those that come back.
type udpFrames struct {
	template []byte
	is4      bool
	src, udp int    // offsets of the source address and of the UDP header
	base     []byte // the first client address
	header   uint32 // sum of the IPv4 header without the source address
	payload  uint32 // sum of what UDP's checksum covers, without the source and the number
}

// flowsPerAddress is how many ports of a client address are used, from firstClientPort.
const (
	flowsPerAddress = 1 << 15
	firstClientPort = 1 << 10
)

func newUDPFrames(source, next net.HardwareAddr, f *proxyFamily, port uint16) *udpFrames {
	u := &udpFrames{is4: f.dialled.Is4(), base: f.clients.Addr().AsSlice()}
	b := append(append(u.template, next...), source...)
	if u.is4 {
		const size = 20 + udpLen + requestSize
		b = append(b, 0x08, 0, 0x45, 0, 0, size, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0) // RFC 791; DF set
		u.src = len(b)
	} else {
		b = append(b, 0x86, 0xDD, 0x60, 0, 0, 0, 0, udpLen+requestSize, unix.IPPROTO_UDP, 64) // RFC 8200
		u.src = len(b)
	}
	b = append(append(b, make([]byte, len(u.base))...), f.dialled.AsSlice()...)
	if u.is4 {
		u.header = sum16(0, b[ethernetLen:])
	}
	u.udp = len(b)
	b = binary.BigEndian.AppendUint16(append(b, 0, 0), port)
	b = append(b, 0, udpLen+requestSize, 0, 0)
	b = append(b, make([]byte, requestSize)...)
	u.template = b
	u.payload = sum16(unix.IPPROTO_UDP+udpLen+requestSize, f.dialled.AsSlice())
	u.payload = sum16(u.payload, b[u.udp:])
	return u
}

// length returns how long a frame is.
func (u *udpFrames) length() int { return len(u.template) }

// address writes the client address of a flow into b.
func (u *udpFrames) address(b []byte, flow int) {
	copy(b, u.base)
	last := b[len(u.base)-4 : len(u.base)]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+1+uint32(flow/flowsPerAddress))
}

func clientPort(flow int) uint16 { return firstClientPort + uint16(flow%flowsPerAddress) }

// write writes a frame of a flow into out, which holds a frame already; number is in its payload.
func (u *udpFrames) write(out []byte, flow int, number uint64) {
	source := out[u.src : u.src+len(u.base)]
	u.address(source, flow)
	if u.is4 {
		binary.BigEndian.PutUint16(out[u.src-2:], ^fold(sum16(u.header, source)))
	}
	udp := out[u.udp:]
	binary.BigEndian.PutUint16(udp, clientPort(flow))
	binary.BigEndian.PutUint64(udp[udpLen:], number)
	sum := ^fold(sum16(sum16(u.payload+uint32(clientPort(flow)), source), udp[udpLen:udpLen+8]))
	if sum == 0 {
		sum = 0xFFFF
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
}

// number returns the number in a frame that may be an answer to one of ours: from the dialled address and port, whole.
func (u *udpFrames) number(in []byte) (number uint64, ok bool) {
	if len(in) < u.length() {
		return 0, false
	}
	dialled := u.template[u.src+len(u.base) : u.udp]
	ours := u.template[u.udp+2 : u.udp+6]
	udp := in[u.udp:]
	if string(in[u.src:u.src+len(u.base)]) != string(dialled) || string(udp[0:2]) != string(ours[0:2]) ||
		string(udp[4:6]) != string(ours[2:4]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(udp[udpLen:]), true
}

// to reports whether a frame goes to the client of a flow.
func (u *udpFrames) to(in []byte, flow int) bool {
	var addr [16]byte
	u.address(addr[:], flow)
	return string(in[u.src+len(u.base):u.udp]) == string(addr[:len(u.base)]) &&
		binary.BigEndian.Uint16(in[u.udp+2:]) == clientPort(flow)
}

// hardwareAddr returns the address and the index of an interface.
func hardwareAddr(ns *netlab.Namespace, link string) (mac net.HardwareAddr, ifindex int, err error) {
	err = ns.Do(func() error {
		device, err := netlink.LinkByName(link)
		if err != nil {
			return fmt.Errorf("find %s in %s: %w", link, ns.Name(), err)
		}
		mac, ifindex = device.Attrs().HardwareAddr, device.Attrs().Index
		return nil
	})
	return mac, ifindex, err
}

// nobody is the hardware address that answers to the clients of the frames go to: no interface's, so that the client's
// network stack throws them away at once, after the packet socket has seen them.
var nobody = net.HardwareAddr{2, 0, 0, 0, 0, 3}

// routeClients has the proxy send everything for the clients of the frames to nobody on the client's link.
func (b *proxyBed) routeClients() error {
	var errs []error
	_, ifindex, err := hardwareAddr(b.Proxy, "client0")
	errs = append(errs, err)
	for _, f := range proxyFamilies {
		errs = append(errs, b.Proxy.Do(func() error { return addNeighbour(ifindex, f.gateway, nobody) }),
			b.Proxy.AddRoute(f.clients, f.gateway))
	}
	return errors.Join(errs...)
}

func addNeighbour(ifindex int, ip netip.Addr, mac net.HardwareAddr) error {
	n := &netlink.Neigh{LinkIndex: ifindex, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac}
	if err := netlink.NeighAdd(n); err != nil {
		return fmt.Errorf("add neighbour %s: %w", ip, err)
	}
	return nil
}
