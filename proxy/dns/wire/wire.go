// Package wire is the DNS message format as the hot path needs it: it reads one query out of a packet and writes the
// fixed parts of a response, without allocation and without trust in a single byte of the input.
//
// Rooms: message.go has the header and the codes (RFC 1035 section 4.1.1), name.go domain names (RFC 1035 section
// 3.1), query.go the shape a query must have (RFC 1035, RFC 9619), edns.go the OPT record (RFC 6891) and the options
// that the server answers to. Everything else in a query is skipped.
package wire
