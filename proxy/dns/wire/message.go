package wire

import (
	"encoding/binary"
	"strconv"
)

// Sizes of the parts of a message, in bytes.
const (
	HeaderLen   = 12        // RFC 1035 section 4.1.1
	RecordLen   = 10        // type, class, TTL and RDLENGTH: what stands between a record's owner and its data
	MaxMessage  = 1<<16 - 1 // what the length field of a TCP message can say (RFC 1035 section 4.2.2)
	MinUDP      = 512       // what every client takes (RFC 1035 section 4.2.1, RFC 6891 section 6.2.3)
	MaxPointer  = 1<<14 - 1 // the furthest offset that a compression pointer reaches (RFC 1035 section 4.1.4)
	pointerBits = 0xC000
)

// Bits of the header's second and third byte, as one 16-bit word (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const (
	QR uint16 = 1 << 15 // this is a response
	AA uint16 = 1 << 10 // authoritative answer
	TC uint16 = 1 << 9  // truncated
	RD uint16 = 1 << 8  // recursion desired
	CD uint16 = 1 << 4  // checking disabled

	opcodeMask uint16 = 0xF << 11
	copied            = opcodeMask | RD | CD // what a response repeats of its query
)

// Opcodes (RFC 1035 section 4.1.1).
const OpcodeQuery = 0

// Rcode is a response code, extended by EDNS to 12 bits (RFC 6891 section 6.1.3).
type Rcode uint16

// The response codes that the server gives.
const (
	NoError   Rcode = 0
	FormErr   Rcode = 1
	ServFail  Rcode = 2
	NXDomain  Rcode = 3
	NotImp    Rcode = 4
	Refused   Rcode = 5
	YXDomain  Rcode = 6  // RFC 6672 section 2.2: a DNAME makes a name that is too long
	BadVers   Rcode = 16 // RFC 6891 section 6.1.3
	BadCookie Rcode = 23 // RFC 7873 section 8
)

// Record types that the server treats by name; all others are data.
const (
	TypeA      uint16 = 1
	TypeNS     uint16 = 2
	TypeMD     uint16 = 3
	TypeMF     uint16 = 4
	TypeCNAME  uint16 = 5
	TypeSOA    uint16 = 6
	TypeMB     uint16 = 7
	TypeMG     uint16 = 8
	TypeMR     uint16 = 9
	TypePTR    uint16 = 12
	TypeMINFO  uint16 = 14
	TypeMX     uint16 = 15
	TypeTXT    uint16 = 16
	TypeKEY    uint16 = 25
	TypeAAAA   uint16 = 28
	TypeSRV    uint16 = 33
	TypeDNAME  uint16 = 39
	TypeOPT    uint16 = 41
	TypeDS     uint16 = 43
	TypeRRSIG  uint16 = 46
	TypeNSEC   uint16 = 47
	TypeNXNAME uint16 = 128 // RFC 9824 section 2
	TypeTKEY   uint16 = 249
	TypeTSIG   uint16 = 250
	TypeIXFR   uint16 = 251
	TypeAXFR   uint16 = 252
	TypeMAILB  uint16 = 253
	TypeMAILA  uint16 = 254
	TypeANY    uint16 = 255
)

// Classes (RFC 1035 section 3.2.4).
const (
	ClassIN uint16 = 1
	ClassCH uint16 = 3
)

// Header is what a response's header says beside its ID.
type Header struct {
	Flags      uint16 // QR, AA, TC, and what the query's flags lend; without the response code
	Rcode      Rcode  // the low four bits go into the header, the rest into the OPT record
	Questions  uint16
	Answers    uint16
	Authority  uint16
	Additional uint16
}

// Put writes the header to msg, which has room for HeaderLen bytes.
func (h *Header) Put(msg []byte, id uint16) {
	_ = msg[HeaderLen-1]
	binary.BigEndian.PutUint16(msg, id)
	binary.BigEndian.PutUint16(msg[2:], h.Flags|uint16(h.Rcode&0xF))
	binary.BigEndian.PutUint16(msg[4:], h.Questions)
	binary.BigEndian.PutUint16(msg[6:], h.Answers)
	binary.BigEndian.PutUint16(msg[8:], h.Authority)
	binary.BigEndian.PutUint16(msg[10:], h.Additional)
}

// PutPointer writes a compression pointer to offset, which is at most MaxPointer (RFC 1035 section 4.1.4).
func PutPointer(b []byte, offset int) {
	binary.BigEndian.PutUint16(b, uint16(offset)|pointerBits)
}

// Pointer reads a compression pointer.
func Pointer(b []byte) int {
	return int(binary.BigEndian.Uint16(b) &^ pointerBits)
}

// IsPointer reports whether the label that starts with b is a compression pointer.
func IsPointer(b byte) bool { return b >= 0xC0 }

var rcodeNames = map[Rcode]string{
	NoError: "NOERROR", FormErr: "FORMERR", ServFail: "SERVFAIL", NXDomain: "NXDOMAIN", NotImp: "NOTIMP",
	Refused: "REFUSED", YXDomain: "YXDOMAIN", BadVers: "BADVERS", BadCookie: "BADCOOKIE",
}

// String returns the mnemonic (RFC 6895 section 2.3), or "RCODE" and the number.
func (r Rcode) String() string {
	if name, ok := rcodeNames[r]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(int(r))
}
