package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// TestDNSFrames sums the frames up as a receiver does (RFC 1071: the sum with the checksum is all ones), and lets the
// kernel judge them: a socket gets every query as it was written.
func TestDNSFrames(t *testing.T) {
	lab := netlab.New(t)
	b, err := newDNSBed(lab, &dnsServer{name: "none"}, dnsZone{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	rng := rand.New(rand.NewPCG(1, 2))
	for family, links := range dnsLinks {
		l, err := newDNSLink(b.client, b.inside, netip.AddrPortFrom(links[1].Addr(), dnsClientPort))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		var fd int
		err = b.inside.Do(func() (err error) { fd, err = receiver(family); return err })
		defer unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		for i, to := range wholePrefix(family)[:200] {
			q, frame := randomDNSQuery(rng), make([]byte, 2048)
			frame = frame[:l.write(frame, to, q.packet, uint16(i))]
			if sum := receivedSum(l, frame); sum != 0xFFFF {
				t.Errorf("the frame to %s sums up to %#x", to, sum)
			}
			if _, err := unix.Write(l.fd, frame); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 2048)
			n, err := unix.Read(fd, got)
			if err != nil || binary.BigEndian.Uint16(got) != uint16(i) || !bytes.Equal(got[2:n], q.packet[2:]) {
				t.Fatalf("%s got %x, %v; want %x with ID %d", to, got[:n], err, q.packet, i)
			}
		}
	}
}

// receivedSum is the sum over an IPv4 header, or over UDP with the pseudo header of IPv6 (RFC 8200 section 8.1).
func receivedSum(l *dnsLink, frame []byte) uint16 {
	ip, udp := frame[l.ip:l.udp], frame[l.udp:]
	if l.is4 {
		return fold(sum16(0, ip))
	}
	return fold(sum16(sum16(uint32(unix.IPPROTO_UDP+len(udp)), ip[8:]), udp))
}

// receiver opens a UDP socket on the port of DNS of all addresses of a family.
func receiver(family int) (int, error) {
	domain, addr := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: dnsPort})
	if family == 1 {
		domain, addr = unix.AF_INET6, &unix.SockaddrInet6{Port: dnsPort}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	patience := unix.Timeval{Sec: 10}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	if family == 1 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1))
	}
	return fd, errors.Join(err, unix.Bind(fd, addr))
}
