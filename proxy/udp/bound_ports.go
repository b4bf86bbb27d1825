package udp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"anyport/proxy/sock"
)

// boundPorts returns the ports of addr that UDP sockets of this thread's network namespace are bound to. It reads
// /proc/net/udp and udp6 (proc(5)), which need neither a privilege nor the udp_diag module.
func boundPorts(addr sock.Addr) (map[uint16]bool, error) {
	ports := make(map[uint16]bool)
	for _, name := range []string{"udp", "udp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		err = readBoundPorts(f, addr.IP, ports)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	return ports, nil
}

// readBoundPorts adds the ports of sockets whose local address is ip or a wildcard, of whichever family.
func readBoundPorts(r io.Reader, ip [16]byte, ports map[uint16]bool) error {
	lines := bufio.NewScanner(r)
	lines.Scan() // the headings
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			return fmt.Errorf("line %q has no local address", lines.Text())
		}
		local, err := parseLocalAddress(fields[1])
		if err != nil {
			return err
		}
		if local.IP == ip || local.AddrPort().Addr().IsUnspecified() {
			ports[local.Port] = true
		}
	}
	return lines.Err()
}

// parseLocalAddress reads "0100007F:0035": 32-bit words of the address, one or four, as the machine loads them from
// memory, then the port (udp4_format_sock in net/ipv4/udp.c and ip6_dgram_sock_seq_show in net/ipv6/datagram.c).
func parseLocalAddress(s string) (sock.Addr, error) {
	words, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(words) != 8 && len(words) != 32 {
		return sock.Addr{}, fmt.Errorf("parse local address %q", s)
	}
	var ip []byte
	for ; words != ""; words = words[8:] {
		word, err := strconv.ParseUint(words[:8], 16, 32)
		if err != nil {
			return sock.Addr{}, fmt.Errorf("parse local address %q: %w", s, err)
		}
		ip = binary.NativeEndian.AppendUint32(ip, uint32(word))
	}
	a, _ := netip.AddrFromSlice(ip)
	return sock.AddrFrom(netip.AddrPortFrom(a, uint16(n))), nil
}
