package udp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"anyport/proxy/sock"
)

// Errors that Import returns.
var (
	ErrFlowsVersion = errors.New("flows of another version")
	ErrFlowsDamaged = errors.New("flows are damaged")
)

// The file of a flow table: its mark, a version, how many flows and resting ports follow, then these, and a checksum
// (CRC-32C) over all before it. Numbers are big endian. The version changes with the meaning of any byte.
const (
	flowsMark    = "anyport flows\r\n\x00"
	flowsVersion = 1
	flowsHeader  = len(flowsMark) + 3*4
)

// savedFlow is a flow on its way to another process. Times are relative, because each process has a clock of its own.
type savedFlow struct {
	key        flowKey
	nat        sock.Addr
	upstream   sock.Addr
	route      string
	state      flowState
	introduced bool
	age        time.Duration // since the flow began
	idle       time.Duration // since its last datagram
	totals     flowTotals
}

// savedPort is a NAT port in quarantine.
type savedPort struct {
	nat    sock.Addr
	rested time.Duration
}

// savedTable is what goes from one process to the next: flows and ports, those that have been idle longest first.
type savedTable struct {
	flows []savedFlow
	ports []savedPort
}

func (s *savedTable) sort() {
	slices.SortStableFunc(s.flows, func(a, b savedFlow) int { return cmp.Compare(b.idle, a.idle) })
	slices.SortStableFunc(s.ports, func(a, b savedPort) int { return cmp.Compare(b.rested, a.rested) })
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *savedTable) encode() []byte {
	b := append([]byte(nil), flowsMark...)
	b = binary.BigEndian.AppendUint32(b, flowsVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.flows)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.ports)))
	for i := range s.flows {
		b = s.flows[i].append(b)
	}
	for i := range s.ports {
		b = appendAddr(b, &s.ports[i].nat)
		b = binary.BigEndian.AppendUint64(b, uint64(s.ports[i].rested))
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (f *savedFlow) append(b []byte) []byte {
	for _, a := range []*sock.Addr{&f.key.client, &f.key.dst, &f.nat, &f.upstream} {
		b = appendAddr(b, a)
	}
	b = append(b, byte(f.state), 0)
	if f.introduced {
		b[len(b)-1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(f.age))
	b = binary.BigEndian.AppendUint64(b, uint64(f.idle))
	for _, n := range f.totals {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, byte(len(f.route))) // conf keeps names to 63 bytes
	return append(b, f.route...)
}

func appendAddr(b []byte, a *sock.Addr) []byte {
	b = append(b, a.IP[:]...)
	return binary.BigEndian.AppendUint16(b, a.Port)
}

func decodeFlows(from io.Reader) (*savedTable, error) {
	b, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	if len(b) < flowsHeader+crc32.Size || string(b[:len(flowsMark)]) != flowsMark {
		return nil, fmt.Errorf("%w: this is something else", ErrFlowsDamaged)
	}
	r := flowReader{rest: b[len(flowsMark) : len(b)-crc32.Size]}
	if v := r.uint32(); v != flowsVersion {
		return nil, fmt.Errorf("%w: %d, not %d", ErrFlowsVersion, v, flowsVersion)
	}
	if crc32.Checksum(b[:len(b)-crc32.Size], castagnoli) != binary.BigEndian.Uint32(b[len(b)-crc32.Size:]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrFlowsDamaged)
	}
	s := &savedTable{}
	flows, ports := r.uint32(), r.uint32()
	for range flows {
		if r.short {
			break
		}
		s.flows = append(s.flows, r.flow())
	}
	for range ports {
		if r.short {
			break
		}
		s.ports = append(s.ports, savedPort{r.addr(), time.Duration(r.uint64())})
	}
	if r.short || len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: wrong length", ErrFlowsDamaged)
	}
	return s, nil
}

// flowReader takes values off the front of a file. When it is used up they are zero, and short is set.
type flowReader struct {
	rest  []byte
	short bool
}

func (r *flowReader) take(n int) []byte {
	if len(r.rest) < n {
		r.rest, r.short = nil, true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *flowReader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *flowReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *flowReader) addr() sock.Addr {
	b := r.take(18)
	return sock.Addr{IP: [16]byte(b), Port: binary.BigEndian.Uint16(b[16:])}
}

func (r *flowReader) flow() savedFlow {
	f := savedFlow{key: flowKey{r.addr(), r.addr()}, nat: r.addr(), upstream: r.addr()}
	flags := r.take(2)
	f.state, f.introduced = flowState(flags[0]), flags[1] != 0
	f.age, f.idle = time.Duration(r.uint64()), time.Duration(r.uint64())
	for i := range f.totals {
		f.totals[i] = r.uint64()
	}
	f.route = string(r.take(int(r.take(1)[0])))
	return f
}
