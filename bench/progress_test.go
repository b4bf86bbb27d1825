package bench

import (
	"bytes"
	"testing"
	"time"
)

// TestProgressLines reports rounds and steps as lines: what runs, since when, and what is left.
func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, 0)
	p.Suite("tcp", 2, 3)
	p.Step("starting %s", "HAProxy")
	plan := Plan{Rounds: 9, Limit: 20 * time.Second, Then: time.Minute}
	for round := range 2 {
		for _, work := range []string{"one", "another"} {
			p.Round(round, time.Duration(round)*4*time.Second, plan, work)
		}
	}
	p.Suite("dns", 1, 1)
	p.Round(0, 0, Plan{Rounds: 5}, "queries")
	p.Done()
	const want = `tcp (suite 2 of 3): starting HAProxy
tcp (suite 2 of 3): round 1 of 10, 0s gone, about 1m20s left
tcp (suite 2 of 3): round 2 of 10, 4s gone, about 1m20s left
dns: round 1 of 6, 0s gone
`
	if b.String() != want {
		t.Errorf("it says\n%swant\n%s", &b, want)
	}
}

// TestProgressLive rewrites one line, which also tells of the work, as far as it fits.
func TestProgressLive(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, 50)
	p.Suite("tcp", 1, 1)
	p.Round(1, 3*time.Second, Plan{Rounds: 5}, "ping-pong")
	p.Done()
	if want := "\r\033[Ktcp: round 2 of 6, 3s gone, about 15s left: ping-\r\033[K"; b.String() != want {
		t.Errorf("it says %q, want %q", &b, want)
	}
	var nobody *Progress
	nobody.Suite("tcp", 1, 1)
	nobody.Step("nothing")
	nobody.Round(0, 0, Plan{}, "nothing")
	nobody.Done()
}

// TestPlanLeft bounds what is left by the rounds, by the limit, and by the rounds that no limit cuts.
func TestPlanLeft(t *testing.T) {
	for _, test := range []struct {
		plan  Plan
		round int
		since time.Duration
		want  time.Duration
	}{
		{Plan{Rounds: 9, Limit: time.Hour}, 2, 4 * time.Second, 16 * time.Second},
		{Plan{Rounds: 99, Limit: 20 * time.Second}, 6, 12 * time.Second, 10 * time.Second},
		{Plan{Rounds: 99, Limit: time.Second}, 2, 4 * time.Second, 8 * time.Second},
		{Plan{Rounds: 99, Limit: time.Second}, 8, 16 * time.Second, 0},
		{Plan{Rounds: 3}, 0, 0, 0},
	} {
		if got := test.plan.left(test.round, test.since); got != test.want {
			t.Errorf("%+v, round %d after %v: %v, want %v", test.plan, test.round, test.since, got, test.want)
		}
	}
}
