package steering

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Answer is what the kernel's program says about a packet.
type Answer struct {
	Rule                    // that decides, or the default
	Verdict    rule.Verdict // what happens to the packet; Rule.Verdict is what the rule asks for
	By         uint16       // the service that gets it, or rule.NoService
	Outcome    Outcome      // final
	Cause      Outcome      // why the rule's own service does not get it; equal to Outcome if that was not tried
	Cookie     uint64       // of the socket that gets it; 0 for a reuseport group, of which the kernel picks one later
	Generation uint64
}

// Twin is a copy of the live program that answers questions. It shares the tables of its generation and the sockets,
// and has counters and samples of its own, so that asking leaves no trace. It knows no rates: it answers as to a source
// that has not come before. It stays with its generation.
type Twin struct {
	generation uint64
	rules      []bpf.SteerRule
	private    mapSet
	program    *ebpf.Program
	ring       *ringbuf.Reader
}

// Twin loads a twin of the live program, which takes some 10 ms. The caller closes it. It needs CAP_BPF and
// CAP_NET_ADMIN.
func (s *Steering) Twin() (*Twin, error) {
	var t *Twin
	err := s.read(func(g *generation) (err error) {
		t, err = s.newTwin(g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make twin of program: %w", explainPrivilege(err))
	}
	return t, nil
}

// Ask asks a twin made for this one question what would become of a packet.
func (s *Steering) Ask(p rule.Protocol, src netip.Addr, dst netip.AddrPort) (Answer, error) {
	t, err := s.Twin()
	if err != nil {
		return Answer{}, err
	}
	defer t.Close()
	return t.Ask(p, src, dst)
}

func (s *Steering) newTwin(g *generation) (t *Twin, err error) {
	t = &Twin{generation: g.number}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.rules, err = g.rules(); err != nil {
		return t, err
	}
	if t.private, err = makePrivate(); err != nil {
		return t, err
	}
	tables, err := openMaps(g.dir, tableNames...)
	if err != nil {
		return t, err
	}
	defer tables.close()
	sockets, err := s.openSockets()
	if err != nil {
		return t, err
	}
	defer sockets.Close()
	used := mapSet{bpf.SteerMapSockets: sockets}
	for _, set := range []mapSet{tables, t.private} {
		for name, m := range set {
			used[name] = m
		}
	}
	if t.program, err = loadProgram(used, true); err != nil {
		return t, err
	}
	t.ring, err = ringbuf.NewReader(t.private[bpf.SteerMapSamples])
	return t, err
}

// makePrivate makes the maps that a twin writes. They are small: counts that find no place are dropped, and samples are
// read one by one.
func makePrivate() (mapSet, error) {
	spec, err := steerSpec()
	if err != nil {
		return nil, err
	}
	private := make(mapSet)
	for name, entries := range map[string]int{
		bpf.SteerMapCounters: 1, bpf.SteerMapSamples: os.Getpagesize(), bpf.SteerMapSampling: 1,
		bpf.SteerMapBuckets: 1, bpf.SteerMapHandshakes: 1,
	} {
		small := spec.Maps[name].Copy()
		small.MaxEntries = uint32(entries)
		if private[name], err = ebpf.NewMap(small); err != nil {
			private.close()
			return nil, fmt.Errorf("make map %s: %w", name, err)
		}
	}
	return private, nil
}

// Close frees the twin.
func (t *Twin) Close() error {
	t.private.close()
	t.program.Close()
	if t.ring == nil {
		return nil
	}
	return t.ring.Close()
}

// Ask runs the program on a packet of protocol p, TCP or UDP, from src to dst (BPF_PROG_TEST_RUN, Linux 5.13). The zero
// src stands for 0.0.0.0 or ::. A Twin answers one question at a time.
func (t *Twin) Ask(p rule.Protocol, src netip.Addr, dst netip.AddrPort) (Answer, error) {
	in, err := newLookupContext(p, src, dst)
	if err != nil {
		return Answer{}, fmt.Errorf("ask the kernel: %w", err)
	}
	var out lookupContext
	_, err = t.program.Run(&ebpf.RunOptions{Context: in, ContextOut: &out})
	if err != nil && !errors.Is(err, syscall.EOPNOTSUPP) { // which is said of reuseport groups, after the run
		return Answer{}, fmt.Errorf("ask the kernel: %w", err)
	}
	sample, err := t.next()
	if err != nil {
		return Answer{}, fmt.Errorf("ask the kernel: %w", err)
	}
	return t.answer(sample, out.Cookie), nil
}

// next reads the sample of the run that has just ended, so that it need not wait.
func (t *Twin) next() (*bpf.SteerSample, error) {
	t.ring.SetDeadline(time.Now())
	record, err := t.ring.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return decodeSample(record.RawSample)
}

func (t *Twin) answer(s *bpf.SteerSample, cookie uint64) Answer {
	a := Answer{
		Verdict:    rule.Refuse,
		By:         s.Service,
		Outcome:    Outcome(s.Outcome),
		Cause:      Outcome(s.Cause),
		Cookie:     cookie,
		Generation: t.generation,
	}
	if id := uint32(s.Counter); int(id) < len(t.rules) {
		a.Rule = describeRule(id, &t.rules[id])
	}
	switch a.Outcome {
	case Steered, Fallback:
		a.Verdict = rule.Steer
	case Passed, Taken:
		a.Verdict = rule.Pass
	}
	return a
}
