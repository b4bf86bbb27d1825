package sock

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// control returns a control message as the kernel lays it out.
func control(level, kind int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	if cmsgWord == 8 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(len(data))))
	}
	binary.NativeEndian.PutUint32(b[cmsgWord:], uint32(level))
	binary.NativeEndian.PutUint32(b[cmsgWord+4:], uint32(kind))
	copy(b[cmsgHeader:], data)
	return b
}

// sockaddrIn and sockaddrIn6 return ap as a struct sockaddr_in or sockaddr_in6.
func sockaddrIn(ap netip.AddrPort) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	b = append(b, ap.Addr().AsSlice()...)
	return append(b, make([]byte, 8)...)
}

func sockaddrIn6(ap netip.AddrPort, scope uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	b = append(b, 0, 0, 0, 0)
	b = append(b, ap.Addr().AsSlice()...)
	return binary.NativeEndian.AppendUint32(b, scope)
}

func TestOriginalDst(t *testing.T) {
	v4 := netip.MustParseAddrPort("198.18.1.2:4242")
	v6 := netip.MustParseAddrPort("[2001:db8::1]:53")
	message4 := control(unix.SOL_IP, unix.IP_ORIGDSTADDR, sockaddrIn(v4))
	message6 := control(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, sockaddrIn6(v6, 0))
	other := control(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, []byte{1, 2, 3, 4, 5})
	badFamily := control(unix.SOL_IP, unix.IP_ORIGDSTADDR, sockaddrIn6(v6, 0))
	for _, c := range []struct {
		name    string
		control []byte
		want    netip.AddrPort
	}{
		{"ipv4", message4, v4},
		{"ipv6", message6, v6},
		{"behind another", append(append([]byte(nil), other...), message6...), v6},
		{"none", nil, netip.AddrPort{}},
		{"another only", other, netip.AddrPort{}},
		{"cut off", message4[:len(message4)-9], netip.AddrPort{}},
		{"short address", control(unix.SOL_IP, unix.IP_ORIGDSTADDR, sockaddrIn(v4)[:8]), netip.AddrPort{}},
		{"wrong family", badFamily, netip.AddrPort{}},
		{"no length", make([]byte, 64), netip.AddrPort{}},
	} {
		got, ok := OriginalDst(c.control)
		if ok != c.want.IsValid() || ok && got.AddrPort() != c.want {
			t.Errorf("%s: %v %v, want %v", c.name, got.AddrPort(), ok, c.want)
		}
	}
}

// TestOriginalDstZone checks that a link-local address keeps its zone apart from its text.
func TestOriginalDstZone(t *testing.T) {
	ap := netip.MustParseAddrPort("[fe80::1]:53")
	one, _ := OriginalDst(control(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, sockaddrIn6(ap, 1)))
	two, _ := OriginalDst(control(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, sockaddrIn6(ap, 2)))
	if one == two || one.AddrPort() != ap || two.AddrPort() != ap {
		t.Errorf("%v and %v", one, two)
	}
	if ip, zone := two.wire(); zone != 2 || ip != ap.Addr().As16() {
		t.Errorf("on the wire %v zone %d", ip, zone)
	}
}

// FuzzOriginalDst compares the parser with the one of golang.org/x/sys/unix, which checks neither the length of an
// address nor its family.
func FuzzOriginalDst(f *testing.F) {
	f.Add(control(unix.SOL_IP, unix.IP_ORIGDSTADDR, sockaddrIn(netip.MustParseAddrPort("198.18.1.2:4242"))))
	f.Add(control(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, sockaddrIn6(netip.MustParseAddrPort("[2001:db8::1]:53"), 0)))
	f.Add(control(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, []byte{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := OriginalDst(b)
		messages, err := unix.ParseSocketControlMessage(b)
		if err != nil {
			return // x/sys/unix refuses the whole; what comes before the fault may still hold an address
		}
		want, wantOK := referenceDst(messages)
		if ok != wantOK || got.AddrPort() != want {
			t.Errorf("%x: %v %v, want %v %v", b, got.AddrPort(), ok, want, wantOK)
		}
	})
}

func referenceDst(messages []unix.SocketControlMessage) (netip.AddrPort, bool) {
	for i := range messages {
		m := &messages[i]
		sa, err := unix.ParseOrigDstAddr(withRoom(m))
		if err != nil {
			continue
		}
		size, family := unix.SizeofSockaddrInet4, uint16(unix.AF_INET)
		if m.Header.Level == unix.SOL_IPV6 {
			size, family = unix.SizeofSockaddrInet6, unix.AF_INET6
		}
		if len(m.Data) < size || binary.NativeEndian.Uint16(m.Data) != family {
			return Addr{}.AddrPort(), false
		}
		return netipOf(sa), true
	}
	return Addr{}.AddrPort(), false
}

// withRoom returns m with data long enough for either address.
func withRoom(m *unix.SocketControlMessage) *unix.SocketControlMessage {
	data := slices.Concat(m.Data, make([]byte, unix.SizeofSockaddrInet6))
	return &unix.SocketControlMessage{Header: m.Header, Data: data}
}

// netipOf returns what an Addr of sa shows: IPv4-mapped addresses unmapped, link-local ones without their zone.
func netipOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := sa.Addr
		if netip.AddrFrom16(a).IsLinkLocalUnicast() {
			clear(a[4:8])
		}
		return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
