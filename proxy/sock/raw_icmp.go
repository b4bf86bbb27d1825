package sock

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawICMP receives the ICMP and ICMPv6 errors about UDP datagrams that reach this network namespace, and sends such
// errors from any address. A filter in the kernel lets nothing else wake it up. The kernel acts on the errors as well:
// it remembers path MTUs by them.
//
// It is for one goroutine at a time and needs CAP_NET_RAW.
type RawICMP struct {
	v4, v6  int // descriptors; v6 is -1 where the kernel has no IPv6
	packet  [maxICMPRead]byte
	message [maxICMP6]byte
	name    sockaddr
	iovec   unix.Iovec
	header  unix.Msghdr
	info4   pktinfo4
	info6   pktinfo6
}

// maxICMPRead is how much of an error is read: more than the standards let it have, an IPv4 header with options
// included.
const maxICMPRead = 2048

// OpenRawICMP opens the sockets. The caller calls Close.
func OpenRawICMP() (*RawICMP, error) {
	r := &RawICMP{v6: -1}
	var err error
	if r.v4, err = openICMP(unix.AF_INET, unix.IPPROTO_ICMP, icmpFilter4, unix.SOL_IP, unix.IP_TRANSPARENT); err != nil {
		return nil, fmt.Errorf("open raw socket for ICMP: %w", err)
	}
	fd6, err := openICMP(unix.AF_INET6, unix.IPPROTO_ICMPV6, icmpFilter6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT)
	switch {
	case err == nil:
		r.v6 = fd6
	case !errors.Is(err, unix.EAFNOSUPPORT):
		r.Close()
		return nil, fmt.Errorf("open raw socket for ICMPv6: %w", err)
	}
	r.info4.hdr = unix.Cmsghdr{Level: unix.SOL_IP, Type: unix.IP_PKTINFO}
	r.info4.hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	r.info6.hdr = unix.Cmsghdr{Level: unix.SOL_IPV6, Type: unix.IPV6_PKTINFO}
	r.info6.hdr.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	return r, nil
}

func openICMP(family, protocol int, filter []unix.SockFilter, level, transparent int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return closeOnError(fd, errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog),
		unix.SetsockoptInt(fd, level, transparent, 1)))
}

// The filters, in classic BPF. A raw IPv4 socket's packets begin with their IP header, a raw IPv6 socket's without
// (raw(7), ipv6(7)).
var (
	icmpFilter4 = []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // X: how long the IP header is
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 0},  // ICMP's type
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpUnreachable, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: icmpHeader + 9}, // the quoted packet's protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: maxICMPRead},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	icmpFilter6 = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0}, // ICMPv6's type
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpv6Unreachable, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: icmpv6TooBig, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: icmpHeader + 6}, // the quoted packet's next header
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_FRAGMENT, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: maxICMPRead},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
)

// FDs returns the descriptors to wait for errors on, valid until Close: one or two.
func (r *RawICMP) FDs() []int {
	if r.v6 < 0 {
		return []int{r.v4}
	}
	return []int{r.v4, r.v6}
}

// Recv reads an error, whose Payload is valid until the next Recv. It returns false if none waits on either socket.
// What cannot be understood is passed over.
func (r *RawICMP) Recv() (ICMPError, bool) {
	for {
		n, ok := r.read(r.v4)
		if !ok {
			break
		}
		if e, ok := parseICMP4(r.packet[:n]); ok {
			return e, true
		}
	}
	for r.v6 >= 0 {
		n, ok := r.read(r.v6)
		if !ok {
			break
		}
		if e, ok := parseICMP6(r.packet[:n]); ok {
			return e, true
		}
	}
	return ICMPError{}, false
}

func (r *RawICMP) read(fd int) (int, bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&r.packet[0])),
		uintptr(len(r.packet)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno == 0
}

// Send tells e.Src that its datagram to e.Dst has met e. The message comes from e.Dst, as far as anyone can see.
func (r *RawICMP) Send(e *ICMPError) error {
	fd, h := r.v4, &r.header
	src, _ := e.Dst.wire()
	if e.Src.Is4() {
		r.setMessage(appendICMP4(r.message[:0], e))
		r.info4.info.Spec_dst = [4]byte(src[12:])
		h.Control = (*byte)(unsafe.Pointer(&r.info4))
		h.SetControllen(int(unsafe.Sizeof(r.info4)))
	} else {
		fd = r.v6
		r.setMessage(appendICMP6(r.message[:0], e))
		r.info6.info.Addr = src
		h.Control = (*byte)(unsafe.Pointer(&r.info6))
		h.SetControllen(int(unsafe.Sizeof(r.info6)))
	}
	to := Addr{IP: e.Src.IP}
	h.Name = (*byte)(unsafe.Pointer(&r.name))
	h.Namelen = to.encode(&r.name)
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return fmt.Errorf("send ICMP error: %w", errno)
	}
	return nil
}

func (r *RawICMP) setMessage(b []byte) {
	setIovec(&r.iovec, b)
	r.header.Iov = &r.iovec
	r.header.SetIovlen(1)
}

// Close closes the sockets.
func (r *RawICMP) Close() error {
	err := unix.Close(r.v4)
	if r.v6 >= 0 {
		err = errors.Join(err, unix.Close(r.v6))
	}
	return err
}
