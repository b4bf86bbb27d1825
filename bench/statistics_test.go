package bench

import (
	"math"
	"math/rand/v2"
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

// TestCompare draws series with a known ratio under heavy common drift: the interval must hold the ratio about as often
// as it says, and must be narrow against the drift.
func TestCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	held, shown := 0, 0
	const runs = 200
	for range runs {
		s := noisy(rng, 15, 100, 100, 130)
		control, slower := Compare(s[1], s[0], rng), Compare(s[2], s[0], rng)
		if slower.Low <= 1.3 && 1.3 <= slower.High {
			held++
		}
		if !slower.Overlaps(control) {
			shown++
		}
		if width := slower.High - slower.Low; width > 0.3 {
			t.Errorf("interval %v is too wide", slower)
		}
	}
	if held < runs*85/100 || held == runs {
		t.Errorf("%d of %d intervals of 95 %% hold the true ratio", held, runs)
	}
	if shown < runs*95/100 {
		t.Errorf("a difference of 30 %% was shown in %d of %d runs", shown, runs)
	}
}

// TestNoDifferenceShown runs the rule on three series of the same mean.
func TestNoDifferenceShown(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	shown := 0
	const runs = 200
	for range runs {
		s := noisy(rng, 15, 100, 100, 100)
		if !Compare(s[2], s[0], rng).Overlaps(Compare(s[1], s[0], rng)) {
			shown++
		}
	}
	if shown > runs*5/100 {
		t.Errorf("a difference was shown in %d of %d runs without any", shown, runs)
	}
}
