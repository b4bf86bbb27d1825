// Package cookie makes and checks DNS cookies: RFC 7873 with the interoperable server cookies of RFC 9018, so that all
// nodes of an anycast address that share a secret accept each other's.
package cookie

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"

	"anyport/proxy/dns/wire"
)

// Sizes in bytes (RFC 9018 section 4).
const (
	SecretLen = 16
	serverLen = 16
	Len       = wire.ClientCookieLen + serverLen // of a whole cookie option
)

// Secret is a key of SipHash-2-4.
type Secret [SecretLen]byte

// Jar holds the secrets of a server. It is never changed, so it is safe for concurrent use.
type Jar struct {
	secrets []Secret
}

// NewJar returns a jar that makes cookies with the first secret, of which there is at least one, and accepts those made
// with any: so secrets are changed in two steps, on all nodes a second one, then its order (RFC 9018 section 5).
func NewJar(secrets []Secret) *Jar { return &Jar{secrets: append([]Secret(nil), secrets...)} }

// Ages of a server cookie in seconds (RFC 9018 section 4.3).
const (
	maxAge    = 3600 // accepted
	renewAge  = 1800 // a newer one is sent
	maxFuture = 300  // accepted, since clocks differ
)

// version is the first byte of a server cookie; three reserved bytes follow (RFC 9018 section 4).
const version = 1

// Answer writes the cookie option of the response to one with the given option, at a time in seconds since 1970, and
// reports whether the client proved its address by a server cookie that is valid now. Such a cookie is sent back as it
// came, unless half of its age is over or another secret than the first made it.
func (j *Jar) Answer(out *[Len]byte, option []byte, client netip.Addr, now uint32) (valid bool) {
	copy(out[:], option[:wire.ClientCookieLen])
	if len(option) == Len {
		stamp := binary.BigEndian.Uint32(option[wire.ClientCookieLen+4:])
		maker := j.maker(option, client)
		valid = maker >= 0 && fresh(stamp, now)
		if valid && maker == 0 && int32(now-stamp) <= renewAge {
			copy(out[:], option)
			return true
		}
	}
	server := out[wire.ClientCookieLen:]
	copy(server, []byte{version, 0, 0, 0})
	binary.BigEndian.PutUint32(server[4:], now)
	binary.LittleEndian.PutUint64(server[8:], sign(&j.secrets[0], out[:Len-8], client))
	return valid
}

// fresh compares a time stamp by serial number arithmetic (RFC 1982), as it wraps in 2106.
func fresh(stamp, now uint32) bool {
	age := int32(now - stamp)
	return -maxFuture <= age && age <= maxAge
}

// maker returns which secret made a cookie, or -1.
func (j *Jar) maker(option []byte, client netip.Addr) int {
	for i := range j.secrets {
		var want [8]byte
		binary.LittleEndian.PutUint64(want[:], sign(&j.secrets[i], option[:Len-8], client))
		if subtle.ConstantTimeCompare(want[:], option[Len-8:]) == 1 {
			return i
		}
	}
	return -1
}

// sign hashes the client cookie, the fixed part of the server cookie and the client's address (RFC 9018 section 4.4).
func sign(secret *Secret, fixed []byte, client netip.Addr) uint64 {
	var in [Len - 8 + 16]byte
	n := copy(in[:], fixed)
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		n += copy(in[n:], a[:])
	} else {
		a := client.As16()
		n += copy(in[n:], a[:])
	}
	return siphash(secret, in[:n])
}
