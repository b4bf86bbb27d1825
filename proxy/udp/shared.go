package udp

import (
	"sync"
	"sync/atomic"

	"anyport/proxy/limit"
)

// Shared is what the engines of one proxy share. It is safe for concurrent use.
type Shared struct {
	flows limit.Gate   // open in all engines
	away  atomic.Int64 // how many owners there are, so that nobody need look where there are none

	mu      sync.Mutex // guards the fields below
	workers []*worker  // of the engines; it only grows
	own     map[flowKey]struct{}
	owners  map[flowKey]*worker
}

// NewShared returns what engines without flows share.
func NewShared() *Shared {
	return &Shared{own: make(map[flowKey]struct{}), owners: make(map[flowKey]*worker)}
}

func (s *Shared) add(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
}

// all returns the workers.
func (s *Shared) all() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}

// addOwn notes a flow whose client has an address that the proxy serves. By it the engines find out that a datagram is an
// answer of one of them. There are few: only a forged source, or a program of the host itself, is such a client.
func (s *Shared) addOwn(key *flowKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own[*key] = struct{}{}
}

func (s *Shared) isOwn(key *flowKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.own[*key]
	return ok
}

// addOwner notes which worker has a flow that another process has opened. Its replies come to that worker, whose NAT port
// it has, but its client's datagrams may come to any, if the process before had another number of workers.
func (s *Shared) addOwner(key *flowKey, w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.workers) == 1 {
		return
	}
	s.owners[*key] = w
	s.away.Store(int64(len(s.owners)))
}

// ownerOf returns the worker that has such a flow, or nil.
func (s *Shared) ownerOf(key *flowKey) *worker {
	if s.away.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owners[*key]
}

// forget takes out a flow that ends, which need not be one of these.
func (s *Shared) forget(key *flowKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, *key)
	delete(s.owners, *key)
	s.away.Store(int64(len(s.owners)))
}
