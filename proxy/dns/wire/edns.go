package wire

import "encoding/binary"

// Option codes that the server answers to.
const (
	optionNSID   uint16 = 3  // RFC 5001
	optionCookie uint16 = 10 // RFC 7873
)

// Lengths of cookies (RFC 7873 section 4): the client's alone, or with a server's of 8 to 32 bytes behind it.
const (
	ClientCookieLen = 8
	minCookieLen    = ClientCookieLen + 8
	maxCookieLen    = ClientCookieLen + 32
)

// optLen is an OPT record without options: the root, type, size, extended code, version, flags and length.
const optLen = 1 + RecordLen

// EDNSVersion is the version that the server speaks (RFC 6891 section 6.1.3).
const EDNSVersion = 0

// EDNS is what the OPT record of a query says (RFC 6891 section 6.1). Unknown options are ignored.
type EDNS struct {
	Present bool
	Version uint8
	DO      bool   // DNSSEC OK (RFC 3225); the response repeats it
	Size    uint16 // the largest UDP payload that the client takes
	NSID    bool   // the client asks for the server's identifier
	Cookie  []byte // the cookie option as it came: ClientCookieLen bytes or more; nil without one
}

// parse reads an OPT record: its fixed part from the type on, and its data. It returns false if the options do not
// fill the data exactly, or a cookie has a length that RFC 7873 section 5.2.2 rejects.
func (e *EDNS) parse(fixed, data []byte) bool {
	e.Present = true
	e.Size = binary.BigEndian.Uint16(fixed[2:])
	e.Version = fixed[5]
	e.DO = fixed[6]&0x80 != 0
	for len(data) > 0 {
		if len(data) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if 4+size > len(data) {
			return false
		}
		if !e.option(code, data[4:4+size:4+size]) {
			return false
		}
		data = data[4+size:]
	}
	return true
}

func (e *EDNS) option(code uint16, value []byte) bool {
	switch code {
	case optionNSID:
		e.NSID = true
	case optionCookie:
		if e.Cookie != nil { // RFC 7873 section 5.2: only the first one counts
			return true
		}
		if n := len(value); n != ClientCookieLen && (n < minCookieLen || n > maxCookieLen) {
			return false
		}
		e.Cookie = value
	}
	return true
}

// OPT is the OPT record of a response.
type OPT struct {
	Size   uint16 // the largest UDP payload that the server takes
	DO     bool
	Rcode  Rcode  // its upper eight bits are sent
	NSID   []byte // nil: no such option
	Cookie []byte // nil: no such option
}

// Len returns how many bytes Put writes.
func (o *OPT) Len() int {
	n := optLen
	if o.NSID != nil {
		n += 4 + len(o.NSID)
	}
	if o.Cookie != nil {
		n += 4 + len(o.Cookie)
	}
	return n
}

// Put writes the record to b, which has room for Len bytes.
func (o *OPT) Put(b []byte) {
	n := o.Len()
	b = b[:n:n]
	b[0] = 0
	binary.BigEndian.PutUint16(b[1:], TypeOPT)
	binary.BigEndian.PutUint16(b[3:], o.Size)
	b[5] = byte(o.Rcode >> 4)
	b[6] = EDNSVersion
	b[7], b[8] = 0, 0
	if o.DO {
		b[7] = 0x80
	}
	binary.BigEndian.PutUint16(b[9:], uint16(n-optLen))
	p := optLen
	if o.NSID != nil {
		p += putOption(b[p:], optionNSID, o.NSID)
	}
	if o.Cookie != nil {
		putOption(b[p:], optionCookie, o.Cookie)
	}
}

func putOption(b []byte, code uint16, value []byte) int {
	binary.BigEndian.PutUint16(b, code)
	binary.BigEndian.PutUint16(b[2:], uint16(len(value)))
	return 4 + copy(b[4:], value)
}
