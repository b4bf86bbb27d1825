package upstream

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"anyport/conf"
)

// maxEjection bounds how long a member is ejected, however often it has failed: as Envoy's outlier detection does.
const maxEjection = 5 * time.Minute

// rampSteps is in how many steps a slow start goes up.
const rampSteps = 16

// policy is how a route treats its members.
type policy struct {
	maxFails    uint32
	failTimeout time.Duration
	slowStart   time.Duration
	closes      bool // what is open to members that have gone
}

func policyOf(r *conf.Route) policy {
	return policy{maxFails: uint32(r.MaxFails), failTimeout: r.FailTimeout, slowStart: r.SlowStart,
		closes: r.CloseOnRemoval}
}

// roster is the members of the group that is in force of one route.
type roster struct {
	route string
	log   *changeLog

	wentOut func() // called when a member has gone out, with mu held; it must not block

	mu      sync.Mutex // guards the fields below and the health of the members
	policy  policy
	members []*Member
}

// replace makes members those of the group in force. Those that are not among them any more are gone.
func (r *roster) replace(members []*Member, p policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, m := range r.members {
		m.present, m.goneSince = false, now
	}
	if len(members) < 2 {
		p.maxFails = 0 // to eject the only one would help nobody
	}
	r.policy, r.members = p, members
	for _, m := range members {
		m.present = true
		m.closing.Store(false)
		m.maxFails.Store(p.maxFails)
		if m.since.IsZero() {
			m.since = now
		}
		if m.ejected && p.maxFails == 0 {
			r.readmit(m)
		}
	}
}

// disband makes all members gone.
func (r *roster) disband() {
	r.mu.Lock()
	p := r.policy
	r.mu.Unlock()
	r.replace(nil, p)
}

// close has what is open to m end if m has gone and the route wants it, and reports whether anything is.
func (r *roster) close(m *Member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.present || !r.policy.closes {
		return false
	}
	m.closing.Store(true)
	return m.Active() > 0
}

// isLongGone reports whether m has not been in the list for so long that no connection begins there any more.
func (r *roster) isLongGone(m *Member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !m.present && time.Since(m.goneSince) > forgetAfter
}

// out counts the members that take nothing.
func (r *roster) out() (n int) {
	for _, m := range r.members {
		if m.isOut() {
			n++
		}
	}
	return n
}

// eject takes m out for a time, which doubles with each time in a row, unless half of the members are out already.
func (r *roster) eject(m *Member, why syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.isOut() || !m.present || r.policy.maxFails == 0 || 2*(r.out()+1) > len(r.members) {
		return
	}
	pause := min(r.policy.failTimeout<<min(m.streak, 16), max(maxEjection, r.policy.failTimeout))
	m.streak++
	m.ejections++
	m.ejected = true
	m.cause = fmt.Sprintf("%d connects in a row failed, the last one: %v", m.fails.Load(), why)
	r.turn(m)
	r.log.warn("upstream ejected", "route", r.route, "upstream", m.key, "for", pause, "reason", m.cause)
	time.AfterFunc(pause, func() { r.pauseOver(m) })
}

// pauseOver lets an ejected member in again, on probation: the first connect that fails ejects it anew.
func (r *roster) pauseOver(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.ejected {
		m.fails.Store(max(r.policy.maxFails, 2) - 1)
		r.readmit(m)
	}
}

func (r *roster) readmit(m *Member) {
	m.ejected = false
	r.turn(m)
	if m.present && !m.isOut() {
		r.log.info("upstream readmitted", "route", r.route, "upstream", m.key)
	}
}

// checked takes what health checks say about m.
func (r *roster) checked(m *Member, down bool, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.down == down {
		return
	}
	m.down, m.downCause = down, cause
	r.turn(m)
	switch {
	case !m.present:
	case down:
		r.log.warn("upstream down", "route", r.route, "upstream", m.key, "reason", cause)
	case !m.isOut():
		r.log.info("upstream up", "route", r.route, "upstream", m.key)
	}
}

// succeeded ends a row of failures.
func (r *roster) succeeded(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.fails.Store(0)
	m.streak = 0
}

// turn gives m the share that it is due after it went out or came in.
func (r *roster) turn(m *Member) {
	m.since = time.Now()
	if m.ramp != nil {
		m.ramp.Stop()
		m.ramp = nil
	}
	switch {
	case m.isOut():
		m.share.Store(0)
		r.wentOut()
	case r.policy.slowStart == 0:
		m.share.Store(fullShare)
	default:
		r.climb(m, 1, r.policy.slowStart/rampSteps)
	}
}

// climb takes a slow start to its step, of rampSteps, and goes on after an interval.
func (r *roster) climb(m *Member, step uint32, interval time.Duration) {
	m.share.Store(step * fullShare / rampSteps)
	m.ramp = nil
	if step < rampSteps {
		var timer *time.Timer
		timer = time.AfterFunc(interval, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if m.ramp == timer {
				r.climb(m, step+1, interval)
			}
		})
		m.ramp = timer
	}
}
