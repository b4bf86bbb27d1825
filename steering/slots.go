package steering

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"

	"anyport/bpf"
	"anyport/conf/rule"
)

// slotOf returns the key of a service's slot in the sockets map.
func slotOf(service uint16, p rule.Protocol) (uint32, error) {
	if service >= MaxServices {
		return 0, fmt.Errorf("service %d: numbers end at %d", service, MaxServices-1)
	}
	switch p {
	case rule.TCP:
		return 2 * uint32(service), nil
	case rule.UDP:
		return 2*uint32(service) + 1, nil
	}
	return 0, fmt.Errorf("service %d: a slot is for tcp or udp, not for %s", service, p)
}

// openSockets opens the slots. Whoever may do that may receive the traffic: see Options.Owners.
func (s *Steering) openSockets() (*ebpf.Map, error) {
	set, err := openMaps(s.dir, bpf.SteerMapSockets)
	if err != nil {
		return nil, explainPrivilege(goneIsNotLoaded(err))
	}
	return set[bpf.SteerMapSockets], nil
}

// Assign puts a socket into the slot of a service, in place of the one that is there: a listening TCP socket without
// MPTCP, or a bound, unconnected UDP socket. One AF_INET6 socket without IPV6_V6ONLY, bound to [::ffff:127.0.0.1]:0,
// serves both families; an AF_INET socket serves IPv4 only. A *SocketError tells what is wrong with a socket. The
// kernel empties the slot when the socket is closed by all who hold it.
func (s *Steering) Assign(service uint16, p rule.Protocol, conn syscall.Conn) error {
	if err := s.assign(service, p, conn); err != nil {
		return fmt.Errorf("assign %s socket to service %d: %w", p, service, err)
	}
	return nil
}

func (s *Steering) assign(service uint16, p rule.Protocol, conn syscall.Conn) error {
	slot, err := slotOf(service, p)
	if err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	m, err := s.openSockets()
	if err != nil {
		return err
	}
	defer m.Close()
	controlErr := raw.Control(func(fd uintptr) { err = insertSocket(m, slot, int(fd), p) })
	return errors.Join(controlErr, err)
}

func insertSocket(m *ebpf.Map, slot uint32, fd int, p rule.Protocol) error {
	if err := checkSocket(fd, p); err != nil {
		return err
	}
	err := m.Put(slot, uint64(fd))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return &SocketError{Reason: "the kernel does not take it", Err: err}
	}
	return err
}

// Release empties the slot of a service. An empty slot is no error.
func (s *Steering) Release(service uint16, p rule.Protocol) error {
	if err := s.release(service, p); err != nil {
		return fmt.Errorf("release %s socket of service %d: %w", p, service, err)
	}
	return nil
}

func (s *Steering) release(service uint16, p rule.Protocol) error {
	slot, err := slotOf(service, p)
	if err != nil {
		return err
	}
	m, err := s.openSockets()
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Delete(slot); err != nil && !isEmptySlot(err) {
		return err
	}
	return nil
}

// isEmptySlot reports whether err is what a socket map says of an empty slot: ENOENT to a look-up, which cilium/ebpf
// turns into ErrKeyNotExist, and EINVAL to a deletion (net/core/sock_map.c).
func isEmptySlot(err error) bool {
	return errors.Is(err, ebpf.ErrKeyNotExist) || errors.Is(err, syscall.EINVAL)
}

// Slot is a slot that holds a socket.
type Slot struct {
	Service  uint16
	Protocol rule.Protocol
	Cookie   uint64 // of the socket: SO_COOKIE of socket(7), as `ss -e` prints it (sk:)
}

// Slots lists the slots that hold a socket, by service, TCP first.
func (s *Steering) Slots() ([]Slot, error) {
	m, err := s.openSockets()
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	defer m.Close()
	var list []Slot
	for service := range uint16(MaxServices) {
		for i, p := range []rule.Protocol{rule.TCP, rule.UDP} {
			var cookie uint64
			err := m.Lookup(2*uint32(service)+uint32(i), &cookie)
			if isEmptySlot(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list slots: %w", err)
			}
			list = append(list, Slot{service, p, cookie})
		}
	}
	return list, nil
}
