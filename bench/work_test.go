package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded returns a work whose subjects note when they are measured, and measure their index + 1 in hundreds.
func recorded(order *[]string, names ...string) Work {
	w := Work{
		Name: "work", Per: "thing", Figures: []Figure{{Name: "time", Unit: "ns/thing"}},
		References: names[:1], Control: names[1],
	}
	for i, name := range names {
		w.Subjects = append(w.Subjects, Subject{Name: name, Measure: func() (Sample, error) {
			*order = append(*order, name)
			s := value(float64(100 * (i + 1)))
			s.Lost, s.Errors, s.Generator = i, 2*i, 0.25
			return s, nil
		}})
	}
	return w
}

// TestRunShufflesEachRound checks that every subject is measured once a round, in orders that differ, and that the
// warm-up does not count.
func TestRunShufflesEachRound(t *testing.T) {
	var order []string
	names := []string{"a", "b", "c", "d", "e"}
	const rounds = 10
	results, err := Run(t.Context(), []Work{recorded(&order, names...)}, Plan{Rounds: rounds, Limit: time.Hour, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	orders := make(map[string]bool)
	for round := range slices.Chunk(order, len(names)) {
		orders[strings.Join(round, "")] = true
		if got := slices.Sorted(slices.Values(round)); !slices.Equal(got, names) {
			t.Errorf("a round measured %v", round)
		}
	}
	if len(orders) < rounds/2 {
		t.Errorf("%d rounds had %d orders", warmUp+rounds, len(orders))
	}
	for i, s := range results[0].Figures[0].Subjects {
		counts := results[0].Subjects[i]
		if len(s.Series) != rounds || Total(counts.Lost) != i*rounds || Total(counts.Errors) != 2*i*rounds {
			t.Errorf("%s has %d samples, and %+v", s.Name, len(s.Series), counts)
		}
		if got, want := s.Against[0].Ratio, float64(i+1); got != (Ratio{want, want, want}) {
			t.Errorf("ratio of %s is %v, want %v", s.Name, got, want)
		}
	}
}

// TestRunKeepsToItsLimit has no time: it does the least number of rounds and stops.
func TestRunKeepsToItsLimit(t *testing.T) {
	var order []string
	results, err := Run(t.Context(), []Work{recorded(&order, "a", "b")}, Plan{Rounds: 1000, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(results[0].Subjects[0].Lost); n != leastRounds {
		t.Errorf("%d rounds, want %d", n, leastRounds)
	}
}

func TestRunEnds(t *testing.T) {
	boom := errors.New("boom")
	failing := Work{Name: "work", Subjects: []Subject{{"a", func() (Sample, error) { return Sample{}, boom }}}}
	if _, err := Run(t.Context(), []Work{failing}, Plan{Rounds: 1}, nil); !errors.Is(err, boom) {
		t.Errorf("a failing subject gives %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	var order []string
	work := recorded(&order, "a", "b")
	work.Subjects[1].Measure = func() (Sample, error) { cancel(boom); return value(1), nil }
	if _, err := Run(ctx, []Work{work}, Plan{Rounds: 100, Limit: time.Hour}, nil); !errors.Is(err, boom) {
		t.Errorf("a done context gives %v", err)
	}
	if len(order) > 1 {
		t.Errorf("%d measurements after the end", len(order)-1)
	}
}

// result makes a small result by the usual way.
func result(t *testing.T) *Result {
	t.Helper()
	var order []string
	works, err := Run(t.Context(), []Work{recorded(&order, "plain", "plain again", "slow")},
		Plan{Rounds: 6, Limit: time.Hour, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Result{
		Schema: Schema, Suite: "test", Command: []string{"anyport-bench", "test"}, Seed: 1, Seconds: 2,
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Works: works,
		Environment: Environment{Kernel: "6.18", CPU: "a CPU", Cores: 2, Load: "0.00"},
		LeftOut:     []LeftOut{{"nft TPROXY", "there is no nft (Debian package nftables)"}},
	}
}

func TestWriteTable(t *testing.T) {
	var b bytes.Buffer
	if err := result(t).WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const want = `test: a CPU, 2 cores, Linux 6.18, load 0.00, 2 s, seed 1

work: time, ns/thing (less is better), median of 6 rounds; ratio with its 95 % interval
             median  quartiles  to plain                      generator  lost  errors
plain        100     100-100    1                             25 %       0     0
plain again  200     200-200    2.00 (2.00-2.00) A/A control  25 %       6     12
slow         300     300-300    3.00 (3.00-3.00)              25 %       12    24
left out: nft TPROXY: there is no nft (Debian package nftables)
`
	if b.String() != want {
		t.Errorf("table is\n%swant\n%s", &b, want)
	}
}

func TestWriteResult(t *testing.T) {
	r := result(t)
	path, err := r.Write(t.TempDir() + "/new")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(back) != fmt.Sprint(*r) {
		t.Errorf("read back\n%v\nwritten\n%v", back, *r)
	}
	if want := "\"series\": [100,100,100,100,100,100]"; !strings.Contains(string(text), want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}

// TestWorkCost checks that CPU times become figures of the subjects that have them, with ratios of their own.
func TestWorkCost(t *testing.T) {
	var order []string
	work := recorded(&order, "plain", "plain again", "proxy", "router")
	for i := range work.Subjects {
		measure := work.Subjects[i].Measure
		work.Subjects[i].Measure = func() (Sample, error) {
			s, err := measure()
			s.Machine = 10 * s.Values[0]
			if work.Subjects[i].Name != "router" {
				s.Process = 5
			}
			return s, err
		}
	}
	results, err := Run(t.Context(), []Work{work}, Plan{Rounds: 5, Limit: time.Hour, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	figures := results[0].Figures
	if len(figures) != 3 {
		t.Fatalf("%d figures, want 3", len(figures))
	}
	machine, process := &figures[1], &figures[2]
	if c := machine.Subject("proxy").To("plain"); machine.Unit != "ns/thing" || c == nil || c.Median != 3 || !c.Shown {
		t.Errorf("machine: %+v, %+v", machine, c)
	}
	if c := process.Subject("proxy").To("plain"); c == nil || c.Median != 1 || c.Shown {
		t.Errorf("process: %+v", c)
	}
	if process.Subject("router") != nil || len(process.Subjects) != 3 {
		t.Errorf("process is a figure of %d subjects, also of one where it was not read", len(process.Subjects))
	}
}

// TestNoRatioToZero has a reference that is 0 in a round: JSON has no infinity, and no ratio means anything.
func TestNoRatioToZero(t *testing.T) {
	var order []string
	work := recorded(&order, "plain", "plain again", "slow")
	zero := work.Subjects[0].Measure
	work.Subjects[0].Measure = func() (Sample, error) {
		s, err := zero()
		s.Values[0] = 0
		return s, err
	}
	results, err := Run(t.Context(), []Work{work}, Plan{Rounds: 5, Limit: time.Hour, Seed: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := Result{Works: results}
	if _, err := r.encode(); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil || !strings.Contains(b.String(), "slow         300     300-300    - ") {
		t.Errorf("%v, table is\n%s", err, &b)
	}
}

// TestValuesMatchFigures has a subject that forgets a value.
func TestValuesMatchFigures(t *testing.T) {
	var order []string
	work := recorded(&order, "a", "b")
	work.Figures = append(work.Figures, Figure{Name: "p99", Unit: "us"})
	_, err := Run(t.Context(), []Work{work}, Plan{Rounds: 5, Limit: time.Hour}, nil)
	if err == nil || !strings.HasSuffix(err.Error(), "1 values for 2 figures") {
		t.Errorf("Run: %v", err)
	}
}
