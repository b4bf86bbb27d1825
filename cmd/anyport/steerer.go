package main

import (
	"io"
	"syscall"

	"anyport/conf/rule"
	"anyport/steering"
)

// steerer is what brings packets to the daemon's sockets: a [steering.Steering], or with tproxy_port hostRules.
type steerer interface {
	Publish(*rule.Table) (steering.Generation, error)
	Assign(service uint16, p rule.Protocol, socket syscall.Conn) error
	Release(service uint16, p rule.Protocol) error
	Generation() (steering.Generation, error)
	ForeignPrograms() ([]steering.ForeignProgram, error)
	Hold() (io.Closer, error)
	Unload() error
	Close() error
}

// hostRules stands for the host's own TPROXY rules: nothing of them is ours to change.
type hostRules struct{}

func (hostRules) Publish(*rule.Table) (steering.Generation, error) {
	return steering.Generation{Number: 1}, nil
}
func (hostRules) Assign(uint16, rule.Protocol, syscall.Conn) error    { return nil }
func (hostRules) Release(uint16, rule.Protocol) error                 { return nil }
func (hostRules) Generation() (steering.Generation, error)            { return steering.Generation{}, nil }
func (hostRules) ForeignPrograms() ([]steering.ForeignProgram, error) { return nil, nil }
func (hostRules) Hold() (io.Closer, error)                            { return io.NopCloser(nil), nil }
func (hostRules) Unload() error                                       { return nil }
func (hostRules) Close() error                                        { return nil }

// openSteerer loads the program, unless the host's rules take its place.
func openSteerer(tproxyPort int, bpffs string, maxRules int) (steerer, error) {
	if tproxyPort != 0 {
		return hostRules{}, nil
	}
	s, err := steering.LoadOrOpen(steering.Options{Bpffs: bpffs, MaxRules: maxRules})
	if err != nil {
		return nil, err // and not a nil *Steering
	}
	return s, nil
}
