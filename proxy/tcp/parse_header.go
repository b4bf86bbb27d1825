package tcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"anyport/proxy/sock"
)

// The headers of the PROXY protocol as receivers have to take them
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2). They are parsed here, and not by
// go-proxyproto, because a connection that waits for the rest of one must cost no goroutine, no buffer and no heap
// object: the bytes stay in the socket.
const (
	// maxHeaderV1 is the longest line of version 1, CR LF included (section 2.1).
	maxHeaderV1 = 107
	// maxHeaderBytes bounds a header of version 2, whose length field allows 65,551 bytes. Section 2.2 asks senders to
	// stay within 536; certificates in extensions are what takes more.
	maxHeaderBytes = 4096
	// headerV2 is the fixed part of version 2: signature, version and command, family and transport, length.
	headerV2 = 16
)

// The third and fourth part of a header of version 2, and how many bytes of addresses follow.
const (
	commandLocal      = 0x20 // the upper half is the version
	commandProxy      = 0x21
	transportUnspec   = 0x00
	transportTCP4     = 0x11
	transportUDP4     = 0x12
	transportTCP6     = 0x21
	transportUDP6     = 0x22
	transportStream   = 0x31 // AF_UNIX
	transportDatagram = 0x32
	sizeTCP4          = 12 // source, destination, two ports
	sizeTCP6          = 36
)

var (
	signatureV1 = []byte("PROXY ")
	signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// verdict is what the bytes that have arrived so far are.
type verdict uint8

const (
	incomplete verdict = iota // the beginning of a header
	malformed                 // no header, or one that a receiver has to refuse
	complete                  // a header, and perhaps data behind it
)

// header is a complete PROXY header.
type header struct {
	size   int       // bytes; data begins behind them
	source sock.Addr // the client; without a port and address if the sender speaks for itself
	local  bool      // the sender speaks for itself: LOCAL, UNKNOWN, or a transport that TCP cannot carry
}

// parseHeader looks at the first bytes of a connection. It keeps nothing of b.
func parseHeader(b []byte) (header, verdict) {
	switch {
	case begins(b, signatureV2):
		return parseV2(b)
	case begins(b, signatureV1):
		return parseV1(b)
	}
	return header{}, malformed
}

// begins reports whether b begins with the signature, as far as it goes.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// parseV1 reads a line like "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".
func parseV1(b []byte) (header, verdict) {
	end := bytes.Index(b[:min(len(b), maxHeaderV1)], []byte("\r\n"))
	switch {
	case end < 0 && len(b) < maxHeaderV1:
		return header{}, incomplete
	case end < len(signatureV1):
		return header{}, malformed
	}
	h := header{size: end + 2}
	transport, rest, spaced := bytes.Cut(b[len(signatureV1):end], []byte(" "))
	switch string(transport) {
	case "UNKNOWN": // whatever follows
		h.local = true
		return h, complete
	case "TCP4", "TCP6":
		if source, ok := parseLine(rest, string(transport) == "TCP4"); ok && spaced {
			h.source = source
			return h, complete
		}
	}
	return header{}, malformed
}

// parseLine reads "SOURCE DESTINATION PORT PORT" of one family, and returns the source.
func parseLine(line []byte, is4 bool) (sock.Addr, bool) {
	src, line, _ := bytes.Cut(line, []byte(" "))
	dst, line, _ := bytes.Cut(line, []byte(" "))
	srcPort, dstPort, _ := bytes.Cut(line, []byte(" "))
	source, ok := parseAddr(src, is4)
	_, ok2 := parseAddr(dst, is4)
	port, ok3 := parsePort(srcPort)
	_, ok4 := parsePort(dstPort)
	return sock.AddrFrom(netip.AddrPortFrom(source, port)), ok && ok2 && ok3 && ok4
}

// parseAddr reads an address of a family. A zone is no part of one here.
func parseAddr(text []byte, is4 bool) (netip.Addr, bool) {
	if bytes.IndexByte(text, '%') >= 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(borrow(text))
	return a, err == nil && a.Is4() == is4
}

// parsePort reads 0 to 65535, without sign and leading zeros.
func parsePort(text []byte) (uint16, bool) {
	if len(text) == 0 || len(text) > 1 && text[0] == '0' || text[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(borrow(text), 10, 16)
	return uint16(n), err == nil
}

// borrow returns b as a string without copying it. It is for parsers that keep it in their error only, which is dropped.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseV2 reads a binary header. Its extensions (section 2.2.1) are skipped.
func parseV2(b []byte) (header, verdict) {
	if len(b) < headerV2 {
		return header{}, incomplete
	}
	h := header{size: headerV2 + int(binary.BigEndian.Uint16(b[14:]))}
	v := h.readV2(b[12], b[13], b)
	if v == complete && len(b) < h.size {
		v = incomplete
	}
	return h, v
}

// readV2 judges a binary header by its fixed part, and reads the source if it is there.
func (h *header) readV2(command, transport byte, b []byte) verdict {
	switch {
	case h.size > maxHeaderBytes:
		return malformed
	case command == commandLocal: // its transport means nothing
		h.local = true
		return complete
	case command != commandProxy:
		return malformed
	}
	return h.readSource(transport, b[headerV2:min(len(b), h.size)])
}

// readSource reads the source of the addresses of a transport, unless they have not all arrived.
func (h *header) readSource(transport byte, addrs []byte) verdict {
	switch transport {
	case transportUnspec, transportUDP4, transportUDP6, transportStream, transportDatagram:
		h.local = true
		return complete
	case transportTCP4:
		return h.readAddrs(addrs, sizeTCP4)
	case transportTCP6:
		return h.readAddrs(addrs, sizeTCP6)
	}
	return malformed
}

// readAddrs reads the source of addresses that take so many bytes.
func (h *header) readAddrs(addrs []byte, size int) verdict {
	switch {
	case h.size-headerV2 < size:
		return malformed
	case len(addrs) < size:
		return incomplete
	}
	length := (size - 4) / 2
	source, _ := netip.AddrFromSlice(addrs[:length])
	h.source = sock.AddrFrom(netip.AddrPortFrom(source, binary.BigEndian.Uint16(addrs[2*length:])))
	return complete
}
