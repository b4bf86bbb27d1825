package udp

import "sync"

// OwnFlows is the flows of all engines of a proxy whose clients have addresses that the proxy serves, by which they find
// out that a datagram is an answer of one of them. It is safe for concurrent use. There are few: only a forged source,
// or a program of the host itself, is such a client.
type OwnFlows struct {
	mu    sync.Mutex // guards the field below
	flows map[flowKey]struct{}
}

// NewOwnFlows returns an empty set.
func NewOwnFlows() *OwnFlows { return &OwnFlows{flows: make(map[flowKey]struct{})} }

func (o *OwnFlows) add(key *flowKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flows[*key] = struct{}{}
}

// remove forgets a flow, which need not be one of these.
func (o *OwnFlows) remove(key *flowKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.flows, *key)
}

func (o *OwnFlows) has(key *flowKey) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.flows[*key]
	return ok
}
