package udp

import (
	"time"

	"anyport/proxy/sock"
)

// flowKey says what a flow is: one client's datagrams to one original destination.
type flowKey struct {
	client, dst sock.Addr
}

// flowID is a flow's place in the flow table, which stands for its NAT address and port.
type flowID uint32

// noFlow is the flowID of none.
const noFlow = ^flowID(0)

// flow is all that is known of a flow, and of a NAT port that has none. It holds no pointer, so that the garbage
// collector need not look at the table and so that it can be handed to another process. It is 80 bytes.
type flow struct {
	key          flowKey
	upstreamPort uint16
	state        flowState
	introduced   bool // its upstream has been sent the header that comes first
	counters     flowCounters
	start        time.Duration // since the engine was made
	target       uint32        // open: the place in the targets; resting: the NAT block's number
	seen         tick          // open: of the last datagram, either way; resting: of the flow's end
	prev, next   flowID        // in the list of the flow's idleClass, or of resting ports
}

// flowState tells flows from NAT ports that have none.
type flowState uint8

const (
	unused      flowState = iota // no flow: the port is free, or not ours
	resting                      // no flow: the last one has ended a while ago
	fresh                        // a flow whose upstream has not answered yet
	answered                     // a flow whose upstream has answered
	established                  // a flow whose client has spoken again after an answer
)

// isOpen reports whether there is a flow.
func (s flowState) isOpen() bool { return s >= fresh }
