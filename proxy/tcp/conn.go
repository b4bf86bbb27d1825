package tcp

import (
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	balance "anyport/proxy/upstream"
)

// side names one of the two peers of a connection. A direction bears the name of the side that its data comes from.
type side uint8

const (
	client side = iota
	upstream
)

func (s side) other() side { return 1 - s }

// state is how far a connection has come. The zero value is a slot of the slab that holds none.
type state uint8

const (
	free       state = iota
	greeting         // the client is accepted and must send a PROXY header
	connecting       // an upstream is being dialled
	relaying         // data moves both ways
)

// legFlags is what is known of one side's socket, and of the direction that starts there.
type legFlags uint8

const (
	readable  legFlags = 1 << iota // reading may find something: no EAGAIN since the last event
	finSeen                        // the kernel has the peer's FIN, and so all of its data, whatever came later
	wary                           // urgent data or an error is ahead: a short read proves nothing
	exhausted                      // everything that the peer sent has been read
	blocked                        // the direction's data waits until the other socket can take some
	void                           // the direction's data has nowhere to go: the other side has failed
	finSent                        // we have sent a FIN to this peer: the direction towards it is complete
)

// leg is one side's socket and the direction that starts there.
type leg struct {
	fd    int32
	pipe  pipeNumber // holds what has been read and not been delivered; 0: nothing
	flags legFlags
	full  uint8  // full reads in a row, up to splicing
	moved uint64 // bytes that the other side's socket has taken
}

func (l *leg) is(f legFlags) bool { return l.flags&f != 0 }

// conn is one proxied connection: a slot of the slab, without a pointer in it.
type conn struct {
	legs       [2]leg // by side
	client     sock.Addr
	dst        sock.Addr // the original destination
	upstream   sock.Addr // that was dialled last
	route      routeNumber
	index      int32  // of the slot; never changes
	generation uint32 // of the slot's use; never 0
	nextFree   int32  // the free slot behind this free one, or noSlot

	accepted    int64 // on the worker's clock
	connectTime int64 // nanoseconds from accepted; 0: not connected
	choice      balance.Choice
	member      uint32 // the number of the endpoint that c has a claim on; 0: none
	errno       uint16 // of the socket that failed
	timer       timer
	active      tick // when bytes last moved
	deadline    tick // of the PROXY header or the connect, or when a reset is looked at next
	nextLine    tick // in the access log, if there are lines before the end

	state      state
	failed     failure
	reason     stats.Reason // of the last attempt to connect
	headerSent uint8        // bytes of the PROXY header that the upstream's socket has taken
	headerDue  bool         // more of them have to go
	counted    bool         // in the route's and the source's limits
	stalls     uint8        // how often in a row a reset has found its data no further
	resetMark  uint64       // how far it was
}

// failure says whose socket has failed, if any.
type failure uint8

const nobody failure = 0

func failureOf(s side) failure { return failure(s) + 1 }

// key identifies one side of a connection in an epoll set. A slot that has been used again has another generation, so
// a late event is told from a timely one. Generation 0 is left for the keys that are no connection: wakeupKey and those
// of listeners.
func (c *conn) key(s side) uint64 {
	return uint64(c.generation)<<32 | uint64(c.index)<<1 | uint64(s)
}

// isConnection reports whether an epoll key is one of a connection.
func isConnection(key uint64) bool { return key>>32 != 0 }

// wakeupKey is what a worker's own wakeup is watched with; listeners have the numbers behind it.
const wakeupKey uint64 = 0
