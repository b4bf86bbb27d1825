package steering

import (
	"fmt"

	"anyport/bpf"
)

// DefaultBpffs is where the BPF file system is by convention (kernel Documentation/filesystems, systemd).
const DefaultBpffs = "/sys/fs/bpf"

// DefaultMaxRules bounds the counters to 1.3 MB for each CPU.
const DefaultMaxRules = 16384

// mostRules bounds MaxRules: their counters take 80 MB for each CPU.
const mostRules = 1 << 20

// MaxServices is how many services there can be, as steer.c is compiled: their numbers are 0 to MaxServices-1.
const MaxServices = 512

// Options say where steering is. The zero value is the caller's network namespace and the usual bpffs.
type Options struct {
	Netns string // path of the network namespace, like /run/netns/edge; "" is that of the calling thread
	Bpffs string // where bpffs is or is to be mounted; "" is DefaultBpffs

	// The rest is for Load. Without it every pin is for root alone, but for the schema number, which is for all to
	// read.

	MaxRules int // rules at once, beside the defaults, for each of which there are counters; 0 is DefaultMaxRules
	Readers  int // id of the group that may read counters and rule names (mode 0640); 0: none
	Owners   int // id of the group that may put sockets into slots, and so receive the traffic (mode 0660); 0: none

	before func(step string) error // tests fail a step by it, or end the process there
}

// complete fills in the defaults.
func (o *Options) complete() error {
	if o.Bpffs == "" {
		o.Bpffs = DefaultBpffs
	}
	if o.MaxRules == 0 {
		o.MaxRules = DefaultMaxRules
	}
	if o.MaxRules < 0 || o.MaxRules > mostRules {
		return fmt.Errorf("MaxRules is %d, not within 1 and %d", o.MaxRules, mostRules)
	}
	return nil
}

// counterEntries is the length of the counters map: the defaults come first.
func (o *Options) counterEntries() uint32 {
	return uint32(bpf.SteerCounterIdCOUNTER_RULES) + uint32(o.MaxRules)
}

// step is one thing that can succeed or fail on the way to a new state.
type step struct {
	name string
	do   func() error
}

// run does the steps in order, up to the first that fails.
func (o *Options) run(steps []step) error {
	for _, s := range steps {
		if o.before != nil {
			if err := o.before(s.name); err != nil {
				return err
			}
		}
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}
