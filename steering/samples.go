package steering

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Sample rates, in samples a second over all CPUs.
const (
	DefaultSampleRate = 10   // after Load
	MaxSampleRate     = 1000 // more would cost more than a look at the packets themselves
)

// Sample is one refused packet.
type Sample struct {
	Time     time.Time
	Protocol rule.Protocol
	Src, Dst netip.AddrPort
	Rule     Rule    // whose refusal it was; only the ID if the rule has vanished since
	Cause    Outcome // Refused if the rule or the default says so, or else why its service did not get the packet
}

// SampleReader reads refused packets as the kernel samples them. The ring buffer holds some 1,000 of them; what does
// not fit is counted by SamplesLost. There is one buffer for all: two readers take each other's samples away.
type SampleReader struct {
	s    *Steering
	maps mapSet
	ring *ringbuf.Reader
	boot time.Time // when CLOCK_MONOTONIC was 0
}

// Samples opens the samples. It needs the right to write their pin. The caller closes the reader.
func (s *Steering) Samples() (*SampleReader, error) {
	maps, err := openMaps(s.dir, bpf.SteerMapSamples)
	if err != nil {
		return nil, fmt.Errorf("open samples: %w", explainPrivilege(goneIsNotLoaded(err)))
	}
	ring, err := ringbuf.NewReader(maps[bpf.SteerMapSamples])
	if err != nil {
		maps.close()
		return nil, fmt.Errorf("open samples: %w", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return nil, errors.Join(fmt.Errorf("open samples: %w", err), ring.Close())
	}
	return &SampleReader{s, maps, ring, time.Now().Add(-time.Duration(now.Nano()))}, nil
}

// Read waits for the next sample. It returns an error that matches os.ErrClosed once the reader is closed.
func (r *SampleReader) Read() (Sample, error) {
	record, err := r.ring.Read()
	if errors.Is(err, os.ErrClosed) {
		return Sample{}, os.ErrClosed
	}
	if err != nil {
		return Sample{}, fmt.Errorf("read sample: %w", err)
	}
	raw, err := decodeSample(record.RawSample)
	if err != nil {
		return Sample{}, fmt.Errorf("read sample: %w", err)
	}
	return Sample{
		Time:     r.boot.Add(time.Duration(raw.Time)),
		Protocol: rule.Protocol(raw.Protocol),
		Src:      netip.AddrPortFrom(sampleAddr(raw.Family, raw.Src), raw.SrcPort),
		Dst:      netip.AddrPortFrom(sampleAddr(raw.Family, raw.Dst), raw.DstPort),
		Rule:     r.s.ruleOf(uint32(raw.Counter)),
		Cause:    Outcome(raw.Cause),
	}, nil
}

// Close ends a Read that waits.
func (r *SampleReader) Close() error {
	err := r.ring.Close()
	r.maps.close()
	return err
}

// ruleOf returns the live rule of an id. A sample is worth telling without its rule, so that errors leave only the ID.
func (s *Steering) ruleOf(id uint32) Rule {
	found := Rule{ID: id, Service: rule.NoService, Fallback: rule.NoService}
	_ = s.read(func(g *generation) error {
		m, err := readMap(g.dir, bpf.SteerMapRules)
		if err != nil {
			return err
		}
		defer m.Close()
		var e bpf.SteerRule
		if err := m.Lookup(id, &e); err != nil {
			return err
		}
		if e.Generation == g.number {
			found = describeRule(id, &e)
		}
		return nil
	})
	return found
}

func decodeSample(raw []byte) (*bpf.SteerSample, error) {
	s := new(bpf.SteerSample)
	if err := binary.Read(bytes.NewReader(raw), binary.NativeEndian, s); err != nil {
		return nil, fmt.Errorf("decode sample: %w", err)
	}
	return s, nil
}

func sampleAddr(family uint8, ip [16]uint8) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(ip[:4]))
	}
	return netip.AddrFrom16(ip)
}

// SetSampleRate sets how many refused packets are sampled in a second, at most: 0, none, to MaxSampleRate.
func (s *Steering) SetSampleRate(perSecond int) error {
	maps, err := openMaps(s.dir, bpf.SteerMapSampling)
	if err != nil {
		return fmt.Errorf("set sample rate: %w", explainPrivilege(goneIsNotLoaded(err)))
	}
	defer maps.close()
	return setSampleRate(maps[bpf.SteerMapSampling], perSecond)
}

func setSampleRate(m *ebpf.Map, perSecond int) error {
	if perSecond < 0 || perSecond > MaxSampleRate {
		return fmt.Errorf("set sample rate: %d is not within 0 and %d", perSecond, MaxSampleRate)
	}
	var interval uint64 // ns
	if perSecond > 0 {
		interval = uint64(time.Second) / uint64(perSecond)
	}
	if err := m.Put(bpf.SteerSamplingKeySAMPLING_INTERVAL, interval); err != nil {
		return fmt.Errorf("set sample rate: %w", err)
	}
	return nil
}

// SamplesLost returns how many samples have found the ring buffer full since steering was loaded.
func (s *Steering) SamplesLost() (uint64, error) {
	maps, err := openMaps(s.dir, bpf.SteerMapSampling)
	if err != nil {
		return 0, fmt.Errorf("read lost samples: %w", explainPrivilege(goneIsNotLoaded(err)))
	}
	defer maps.close()
	var lost uint64
	if err := maps[bpf.SteerMapSampling].Lookup(bpf.SteerSamplingKeySAMPLING_LOST, &lost); err != nil {
		return 0, fmt.Errorf("read lost samples: %w", err)
	}
	return lost, nil
}
