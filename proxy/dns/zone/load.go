package zone

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// defaultTTL is the TTL of records that have none, in a file that has no $TTL before them: NSD's.
const defaultTTL = 3600

// Load reads a zone file: the format of RFC 1035 section 5 with $ORIGIN, $TTL (RFC 2308 section 4), $INCLUDE and
// $GENERATE. Its zone is named by its SOA record; names that are not absolute are completed, until $ORIGIN says
// otherwise, with the file's own name less ".zone" or ".db". The error joins all faults, each a [Fault] with file and
// line, but reading stops at the first fault in the syntax.
func Load(path string) (*Zone, error) {
	z, _, err := load(path)
	return z, err
}

// load also returns the files that the zone was read from, whether or not it is a zone.
func load(path string) (*Zone, *sources, error) {
	start := time.Now()
	src := &sources{}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, src, err
	}
	main, err := src.push(abs)
	if err != nil {
		return nil, src, err
	}
	defer src.close()
	parser := dns.NewZoneParser(main, originOf(abs), abs)
	parser.SetDefaultTTL(defaultTTL)
	parser.SetIncludeAllowed(true)
	parser.SetIncludeFS(src)
	b := newBuilder(src, src.stamps[0].size)
	b.readAll(parser)
	z, err := b.compile()
	if err != nil {
		return nil, src, err
	}
	z.LoadTime = time.Since(start)
	return z, src, nil
}

// originOf returns the name that a zone file's own name stands for, or "" if that is no domain name.
func originOf(path string) string {
	name := filepath.Base(path)
	for _, ext := range []string{".zone", ".db"} {
		name = strings.TrimSuffix(name, ext)
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return ""
	}
	return dns.Fqdn(name)
}

// readAll collects the records up to the first fault in the syntax.
func (b *builder) readAll(parser *dns.ZoneParser) {
	buf := make([]byte, dns.MaxMsgSize+maxOwner)
	for {
		rr, ok := parser.Next()
		if !ok {
			break
		}
		at := b.src.here()
		end, err := dns.PackRR(rr, buf, 0, nil, false)
		switch {
		case err != nil:
			b.faults.add(b.src.fault(at, "%v", err))
		case isBlank(rr, buf[end-int(rr.Header().Rdlength):end]):
			b.faults.add(b.src.fault(at, "the record has no data"))
		default:
			b.add(buf[:end], at)
		}
	}
	if err := parser.Err(); err != nil {
		b.faults.add(b.src.syntax(err))
	}
}

// isBlank reports whether a record was written without data, which the parser lets pass as the form of RFC 2136. NULL
// (RFC 1035 section 3.3.10), APL (RFC 3123 section 4) and types known by number only (RFC 3597 section 5) may be so.
func isBlank(rr dns.RR, data []byte) bool {
	if slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
		return false
	}
	switch rr.(type) {
	case *dns.NULL, *dns.APL, *dns.RFC3597:
		return false
	}
	blank := dns.TypeToRR[rr.Header().Rrtype]()
	*blank.Header() = *rr.Header()
	return reflect.DeepEqual(rr, blank)
}

// maxOwner is the room for a record's owner and fixed part in front of the longest data.
const maxOwner = 512
