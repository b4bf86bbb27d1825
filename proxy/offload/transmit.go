package offload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/bpf"
)

// Transmit sends trains of datagrams from any address and port of the host's, through a program on lo
// (bpf/transmit.c). Its methods are safe for concurrent use.
type Transmit struct {
	objects    bpf.TransmitObjects
	attachment Attachment
	memory     []byte // of the trains
	senders    []*TrainSender

	suspended atomic.Pointer[string] // why trains are not used for now; nil: they are
}

// loopback is the index of lo, which the kernel makes first in every namespace (loopback_net_init).
const loopback = 1

// OpenTransmit loads the program and opens a sender for each of some workers. It needs CAP_BPF, CAP_PERFMON and
// CAP_NET_ADMIN, and is to be called in the network namespace that it is for. The caller calls Close.
func OpenTransmit(way Way, workers int) (*Transmit, error) {
	t := &Transmit{}
	if err := t.open(way, workers); err != nil {
		return nil, errors.Join(fmt.Errorf("send trains by %s: %w", way, err), t.Close())
	}
	return t, nil
}

func (t *Transmit) open(way Way, workers int) error {
	spec, err := bpf.LoadTransmit()
	if err != nil {
		return err
	}
	sockets := 2 * workers
	spec.Maps[bpf.TransmitMapTrains].MaxEntries = uint32(sockets)
	spec.Maps[bpf.TransmitMapSenders].MaxEntries = uint32(sockets)
	if err := spec.LoadAndAssign(&t.objects, nil); err != nil {
		return err
	}
	const trainBytes = int(unsafe.Sizeof(bpf.TransmitTrain{}))
	t.memory, err = unix.Mmap(t.objects.Trains.FD(), 0, sockets*trainBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map trains: %w", err)
	}
	for i := range workers {
		if err := t.addSender(2 * i); err != nil {
			return err
		}
	}
	t.attachment, err = Attach(&Hook{Name: "transmit", Program: t.objects.AnyportTransmit, Direction: Egress, Way: way}, loopback)
	return err
}

// addSender opens the sender whose trains are at place and the next one.
func (t *Transmit) addSender(place int) (err error) {
	s := &TrainSender{transmit: t}
	if s.egress.query, err = openRouteQuery(); err != nil {
		return err
	}
	t.senders = append(t.senders, s)
	if s.v4, err = t.openSocket(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, place); err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	s.v6, err = t.openSocket(unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, place+1)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("open socket: %w", err)
	}
	return nil
}

func (t *Transmit) openSocket(family int, home unix.Sockaddr, place int) (*trainSocket, error) {
	trains := unsafe.Slice((*bpf.TransmitTrain)(unsafe.Pointer(unsafe.SliceData(t.memory))), place+1)
	s, err := openTrainSocket(family, home, &trains[place])
	if err != nil {
		return nil, err
	}
	cookie, err := unix.GetsockoptUint64(s.fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err == nil {
		err = t.objects.Senders.Update(cookie, uint32(place), ebpf.UpdateNoExist)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// Sender returns the sender of a worker.
func (t *Transmit) Sender(worker int) *TrainSender { return t.senders[worker] }

// Suspended returns why trains are not taken for now, or "".
func (t *Transmit) Suspended() string {
	if why := t.suspended.Load(); why != nil {
		return *why
	}
	return ""
}

// Watch suspends trains, whose senders then cut them, while there are rules of the packet filter, or IPsec policies, that
// see what the host sends and would see a train on lo instead. It looks every two seconds until ctx ends, and is to be
// called in the Transmit's network namespace.
func (t *Transmit) Watch(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		t.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look suspends trains or takes them up again. A program that does not run stays suspended.
func (t *Transmit) look() {
	why, err := bypassed(detourOfTrains)
	if err != nil {
		why = err.Error()
	}
	before := t.suspended.Load()
	if before != nil && *before == notRun {
		return
	}
	var now *string
	if why != "" {
		now = &why
	}
	t.suspended.CompareAndSwap(before, now)
}

// notRun is why trains are suspended for good: somebody has taken the program off.
const notRun = "the program on lo does not run"

func (t *Transmit) inUse() bool { return t.suspended.Load() == nil }

// suspend stops trains for a reason.
func (t *Transmit) suspend(why string) { t.suspended.Store(&why) }

// Close takes the program off and closes the senders, which nobody may use any more.
func (t *Transmit) Close() error {
	var errs []error
	if t.attachment != nil {
		errs = append(errs, t.attachment.Detach())
	}
	for _, s := range t.senders {
		errs = append(errs, s.close())
	}
	if t.memory != nil {
		errs = append(errs, unix.Munmap(t.memory))
	}
	return errors.Join(append(errs, t.objects.Close())...)
}
