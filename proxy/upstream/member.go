package upstream

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fullShare is the share of a member that is in and up to speed.
const fullShare = 256

// Member is what is known of one address of a route's upstreams for as long as a configuration or a connection has to
// do with it. Its methods are safe for concurrent use; those that every connection calls take no lock.
type Member struct {
	number uint32
	key    endpointKey
	roster *roster

	active   atomic.Int64  // claims; below 0: retired
	share    atomic.Uint32 // of what its weight is due, in 256ths; 0: out
	fails    atomic.Uint32 // connects in a row that have failed
	maxFails atomic.Uint32 // so many are one too many; 0: none
	failures atomic.Uint64 // connects that have failed since it came
	closing  atomic.Bool   // what is open ends, and nothing begins

	portFixed atomic.Bool // the port that is dialled does not follow the client's

	health // guarded by roster.mu
}

// retired is what active is set to when a member's number may go to another one: far below what claims could undo.
const retired = -1 << 40

// claim counts a connection that begins, and reports whether the member takes it.
func (m *Member) claim() bool {
	if m.active.Add(1) > 0 && !m.closing.Load() {
		return true
	}
	m.active.Add(-1)
	return false
}

// Release gives a claim back.
func (m *Member) Release() { m.active.Add(-1) }

// Active returns how many connections and flows have a claim: that are open, or connecting.
func (m *Member) Active() int { return int(max(m.active.Load(), 0)) }

// Number identifies the member, to those who must hold no pointer: as long as they hold a claim, and never 0.
func (m *Member) Number() uint32 { return m.number }

// IsClosing reports whether connections and flows to the member must end, since a reload or a DNS change has removed it
// from a route with close_on_removal.
func (m *Member) IsClosing() bool { return m.closing.Load() }

// IsOut reports whether the member takes nothing while another one is in.
func (m *Member) IsOut() bool { return m.share.Load() == 0 }

// Connected notes that a connect has succeeded.
func (m *Member) Connected() {
	if m.fails.Load() != 0 {
		m.roster.succeeded(m)
	}
}

// Failed notes that a connect, or what stands for one, has failed. It may eject the member.
func (m *Member) Failed(errno syscall.Errno) {
	m.failures.Add(1)
	if !m.isToBlame(errno) {
		return
	}
	if n, most := m.fails.Add(1), m.maxFails.Load(); most > 0 && n >= most {
		m.roster.eject(m, errno)
	}
}

// isToBlame tells failures that speak against the whole member. Where the client chooses the port, a port that refuses
// or is filtered does not: anybody who scans ports could have it ejected.
func (m *Member) isToBlame(errno syscall.Errno) bool {
	switch errno {
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN:
		return true
	case unix.ECONNREFUSED, unix.ETIMEDOUT:
		return m.portFixed.Load()
	}
	return false
}

// health is what is known of how a member does.
type health struct {
	present   bool      // in the list of the group in force
	goneSince time.Time // of one that is not
	since     time.Time // when it came, or last went out or in
	cause     string    // why it was ejected last
	ejected   bool      // by failures
	down      bool      // by health checks
	downCause string
	streak    int         // ejections without a connect that has succeeded since
	ejections int         // since it came
	ramp      *time.Timer // of a slow start under way
}

// isOut reports whether the member takes nothing.
func (h *health) isOut() bool { return h.ejected || h.down }
