package wire

import "encoding/binary"

// Limits of a domain name (RFC 1035 section 3.1).
const (
	MaxName   = 255 // bytes, the root's included
	MaxLabel  = 63
	maxLabels = 127 // of one byte each, and the root
)

// Name is a domain name in wire format and lower case, with the places of its labels. The zero value is no name; Parse
// and its like fill one in place, so that none is ever allocated for a query.
type Name struct {
	wire    [256]byte // one more than MaxName, so that lower can go by words of eight
	offsets [maxLabels + 1]uint8
	size    uint8 // bytes, the root's included
	labels  uint8 // without the root
}

// Wire returns the name in wire format and lower case, valid until the name is filled again.
func (n *Name) Wire() []byte { return n.wire[:n.size] }

// Len returns the length in wire format, 1 to MaxName.
func (n *Name) Len() int { return int(n.size) }

// Labels returns the number of labels without the root's: 0 for the root.
func (n *Name) Labels() int { return int(n.labels) }

// Suffix returns the name without its first i labels, 0 <= i <= Labels.
func (n *Name) Suffix(i int) []byte { return n.wire[n.offsets[i]:n.size] }

// Equal reports whether two names are the same but for case.
func (n *Name) Equal(m *Name) bool { return string(n.Wire()) == string(m.Wire()) }

// Parse reads an uncompressed name at msg[off:] and returns the offset behind it. It returns false for a name that is
// cut off, too long, or has a label that is neither ordinary nor the root.
func (n *Name) Parse(msg []byte, off int) (end int, ok bool) {
	n.labels = 0
	p := off
	for {
		if p >= len(msg) || p-off >= MaxName {
			return 0, false
		}
		l := msg[p]
		if l > MaxLabel {
			return 0, false
		}
		n.offsets[n.labels] = uint8(p - off)
		p++
		if l == 0 {
			break
		}
		n.labels++
		p += int(l)
	}
	n.size = uint8(p - off)
	copy(n.wire[:], msg[off:p])
	n.lower()
	return p, true
}

// Set fills the name from a whole name in wire format.
func (n *Name) Set(wire []byte) bool {
	end, ok := n.Parse(wire, 0)
	return ok && end == len(wire)
}

// Follow reads a name at msg[off:] that may end in a compression pointer, as in a message under construction. It
// returns the number of bytes that the name has before its first pointer, its root's byte included if it has no
// pointer. Pointers must lead backwards.
func (n *Name) Follow(msg []byte, off int) (local int, ok bool) {
	var flat [MaxName]byte
	size, local, p := 0, -1, off
	for {
		if p >= len(msg) {
			return 0, false
		}
		l := int(msg[p])
		if IsPointer(msg[p]) {
			if p+1 >= len(msg) || Pointer(msg[p:]) >= p {
				return 0, false
			}
			if local < 0 {
				local = p - off
			}
			p = Pointer(msg[p:])
			continue
		}
		if l > MaxLabel || p+1+l > len(msg) || size+1+l > MaxName {
			return 0, false
		}
		size += copy(flat[size:], msg[p:p+1+l])
		p += 1 + l
		if l == 0 {
			break
		}
	}
	if local < 0 {
		local = p - off
	}
	return local, n.Set(flat[:size])
}

// Join makes the name of some labels in wire format and a whole name behind them. It returns false if that is longer
// than MaxName.
func (n *Name) Join(labels, tail []byte) bool {
	var flat [MaxName]byte
	size := len(labels) + len(tail)
	if size > len(flat) {
		return false
	}
	copy(flat[:], labels)
	copy(flat[len(labels):], tail)
	return n.Set(flat[:size])
}

// lower turns ASCII capitals into small letters, eight bytes at a time. A label's length, at most 63, is below 'A'.
func (n *Name) lower() {
	const ones = 0x0101010101010101
	for i := 0; i < int(n.size); i += 8 {
		w := n.wire[i : i+8 : i+8]
		x := binary.LittleEndian.Uint64(w)
		low := x & (0x7F * ones)
		fromA := low + (0x80-'A')*ones
		pastZ := low + (0x7F-'Z')*ones
		capital := (fromA ^ pastZ) &^ x & (0x80 * ones)
		binary.LittleEndian.PutUint64(w, x|capital>>2)
	}
}

// IsBelow reports whether a name in wire format is the same as ancestor or below it, but for case.
func IsBelow(name, ancestor []byte) bool {
	for len(name) > len(ancestor) {
		name = name[1+name[0]:]
	}
	return EqualFold(name, ancestor)
}

// EqualFold reports whether two names in wire format differ in case at most: that of ASCII letters (RFC 4343).
func EqualFold(x, y []byte) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if small(x[i]) != small(y[i]) {
			return false
		}
	}
	return true
}

func small(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// String returns the name as a zone file writes it (RFC 1035 section 5.1), with the final dot.
func (n *Name) String() string { return Text(n.Wire()) }

// Text returns a name in wire format as a zone file writes it, with the final dot.
func Text(name []byte) string {
	if len(name) <= 1 {
		return "."
	}
	b := make([]byte, 0, len(name)+8)
	for p := 0; p < len(name) && name[p] != 0; p += 1 + int(name[p]) {
		for _, c := range name[p+1 : p+1+int(name[p])] {
			b = appendEscaped(b, c)
		}
		b = append(b, '.')
	}
	return string(b)
}

func appendEscaped(b []byte, c byte) []byte {
	switch {
	case c <= ' ' || c >= 0x7F:
		return append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
	case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$':
		return append(b, '\\', c)
	}
	return append(b, c)
}
