package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	for _, test := range []struct {
		series []float64
		want   Summary
	}{
		{[]float64{7}, Summary{7, 7, 7}},
		{[]float64{4, 1, 3, 2}, Summary{2.5, 1.75, 3.25}},
		{[]float64{5, 1, 4, 2, 3}, Summary{3, 2, 4}},
	} {
		if got := Summarise(test.series); got != test.want {
			t.Errorf("Summarise(%v) = %v, want %v", test.series, got, test.want)
		}
	}
}

// noisy returns values around mean that drift from round to round, as a machine does.
func noisy(rng *rand.Rand, rounds int, means ...float64) [][]float64 {
	series := make([][]float64, len(means))
	for round := range rounds {
		drift := 1 + 0.5*math.Sin(float64(round))
		for i, mean := range means {
			series[i] = append(series[i], mean*drift*(1+0.05*rng.NormFloat64()))
		}
	}
	return series
}

// TestCompare draws series with a known ratio under heavy common drift, as many as a quick run and a long one have: the
// interval must hold the ratio about as often as it says, that of the A/A control must hold 1, and a difference of 30 %
// must be shown.
func TestCompare(t *testing.T) {
	const runs, ratio = 150, 1.3
	for _, rounds := range []int{leastRounds, 15, 40} {
		rng := rand.New(rand.NewPCG(1, uint64(rounds)))
		var held, one, shown int
		for range runs {
			s := noisy(rng, rounds, 100, 100, 100*ratio)
			control, slower := Compare(s[1], s[0], rng), Compare(s[2], s[0], rng)
			held += count(slower.Low <= ratio && ratio <= slower.High)
			one += count(control.Low <= 1 && 1 <= control.High)
			shown += count(!slower.Overlaps(control))
			if width := slower.High - slower.Low; width > 0.6 {
				t.Errorf("interval %v is too wide", slower)
			}
		}
		for what, n := range map[string]int{"hold the true ratio": held, "of the control hold 1": one} {
			if n < runs*88/100 || n == runs {
				t.Errorf("%d rounds: %d of %d intervals of 95 %% %s", rounds, n, runs, what)
			}
		}
		if shown < runs*85/100 {
			t.Errorf("%d rounds: a difference of 30 %% was shown in %d of %d runs", rounds, shown, runs)
		}
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// TestNoDifferenceShown runs the rule on three series of the same mean.
func TestNoDifferenceShown(t *testing.T) {
	const runs = 150
	for _, rounds := range []int{leastRounds, 15, 40} {
		rng := rand.New(rand.NewPCG(3, uint64(rounds)))
		shown := 0
		for range runs {
			s := noisy(rng, rounds, 100, 100, 100)
			shown += count(!Compare(s[2], s[0], rng).Overlaps(Compare(s[1], s[0], rng)))
		}
		if shown > runs*5/100 {
			t.Errorf("%d rounds: a difference was shown in %d of %d runs without any", rounds, shown, runs)
		}
	}
}

// TestOverlapIsNoDifference follows made-up series through a work's evaluation to the words of the table: what overlaps
// the control's interval is no difference, however far from 1 both are, and what does not is one, however small.
func TestOverlapIsNoDifference(t *testing.T) {
	series := map[string][]float64{
		"plain":        {100, 110, 90, 100, 105, 95},
		"plain again":  {104, 114.4, 96.3, 103, 110.25, 98.8}, // 1.03 to 1.07
		"within":       {106, 117.7, 94.5, 107, 110.25, 101.65},
		"just outside": {108, 118.8, 97.2, 108, 113.4, 102.6}, // 1.08 each time
	}
	names := []string{"plain", "plain again", "within", "just outside"}
	work := Work{
		Name: "work", Per: "thing", Figures: []Figure{{Name: "time", Unit: "ns"}}, References: names[:1], Control: names[1],
	}
	var samples [][]Sample
	for _, name := range names {
		work.Subjects = append(work.Subjects, Subject{Name: name})
		var of []Sample
		for _, v := range series[name] {
			of = append(of, value(v))
		}
		samples = append(samples, of)
	}
	figure := &work.result(samples, rand.New(rand.NewPCG(5, 6))).Figures[0]
	for name, want := range map[string]string{
		"plain again": " A/A control", "within": " no difference shown", "just outside": "1.08 (1.08-1.08)",
	} {
		if got := figure.Subject(name).To("plain").Text(name, name == work.Control); !strings.HasSuffix(got, want) {
			t.Errorf("%s is printed as %q, want %q at its end", name, got, want)
		}
	}
}
