package bench

import (
	"context"
	"errors"
	"slices"
	"testing"

	"anyport/bench/netlab"
)

// TestSuiteCleansUp ends a run in every way: what it has left to onClose is taken away in reverse order, and its
// processes are gone.
func TestSuiteCleansUp(t *testing.T) {
	netlab.RequireRoot(t)
	boom := errors.New("boom")
	stopped, stop := context.WithCancelCause(t.Context())
	stop(boom)
	for name, test := range map[string]struct {
		ctx  context.Context
		fail error
		want error
	}{
		"success":   {t.Context(), nil, nil},
		"failure":   {t.Context(), boom, boom},
		"interrupt": {stopped, nil, boom},
	} {
		var process *netlab.Process
		var closed []int
		suite := Suite{Name: "test", run: func(ctx context.Context, s *session) ([]WorkResult, error) {
			for i := range 3 {
				s.onClose(func() error { closed = append(closed, i); return nil })
			}
			ns, err := s.lab.Add("one")
			if err == nil {
				process, err = ns.Start("sleep", "1000")
			}
			s.leaveOut("another", "why")
			return nil, errors.Join(err, test.fail, context.Cause(ctx))
		}}
		result, err := suite.Run(test.ctx, Options{Seed: 7, Command: []string{"test"}})
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (result.Seed != 7 || len(result.LeftOut) != 1 || result.Schema != Schema) {
			t.Errorf("%s: %+v", name, result)
		}
		if !slices.Equal(closed, []int{2, 1, 0}) {
			t.Errorf("%s: closed in the order %v", name, closed)
		}
		select {
		case <-process.Done():
		default:
			t.Errorf("%s: a process is left", name)
		}
	}
}

// TestCleanUpFailureIsTold does not take a run for good that has left something.
func TestCleanUpFailureIsTold(t *testing.T) {
	netlab.RequireRoot(t)
	boom := errors.New("boom")
	suite := Suite{Name: "test", run: func(_ context.Context, s *session) ([]WorkResult, error) {
		s.onClose(func() error { return boom })
		return nil, nil
	}}
	if _, err := suite.Run(t.Context(), Options{}); !errors.Is(err, boom) {
		t.Errorf("Run: %v", err)
	}
}

// TestSuitesAreFound looks for each by its name, and for none that is a helper's.
func TestSuitesAreFound(t *testing.T) {
	for _, s := range Suites {
		if found, ok := FindSuite(s.Name); !ok || found.Name != s.Name || s.About == "" {
			t.Errorf("%s: %v, %v", s.Name, found, ok)
		}
		if _, ok := Helper([]string{s.Name}); ok {
			t.Errorf("%s is a helper, too", s.Name)
		}
	}
	if _, ok := FindSuite("no-such"); ok {
		t.Error("no-such is found")
	}
	if _, ok := Helper(nil); ok {
		t.Error("no arguments call a helper")
	}
}
