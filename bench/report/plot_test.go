package report

import (
	"testing"

	"anyport/bench"
)

// TestRowKinds tells better from worse in both directions, and neither where no difference is shown.
func TestRowKinds(t *testing.T) {
	w := bench.WorkResult{References: []string{"plain"}, Control: "plain again"}
	for _, test := range []struct {
		name   string
		ratio  float64
		shown  bool
		better string
		want   rowKind
	}{
		{"plain", 1, false, bench.LessIsBetter, rowReference},
		{"plain again", 1.2, false, bench.LessIsBetter, rowControl},
		{"other", 1.2, false, bench.LessIsBetter, rowSame},
		{"other", 1.2, true, bench.LessIsBetter, rowWorse},
		{"other", 0.8, true, bench.LessIsBetter, rowBetter},
		{"other", 1.2, true, bench.MoreIsBetter, rowBetter},
		{"other", 0.8, true, bench.MoreIsBetter, rowWorse},
	} {
		c := bench.Comparison{Reference: "plain", Ratio: bench.Ratio{Median: test.ratio}, Shown: test.shown}
		if got := kindOf(w, bench.FigureResult{Better: test.better}, test.name, &c); got != test.want {
			t.Errorf("%+v: kind %d", test, got)
		}
	}
}

// TestRatioTicks checks that 1 is marked in every range that has it, and that marks are few and within the range.
func TestRatioTicks(t *testing.T) {
	for _, test := range [][2]float64{{0.8, 1.25}, {0.4, 1.3}, {0.05, 3}, {0.01, 90}, {0.001, 1.2}, {0.78, 1500}} {
		one := false
		ticks := ratioTicks{}.Ticks(test[0], test[1])
		for _, tick := range ticks {
			one = one || tick.Value == 1 && tick.Label == "1"
			if tick.Value < test[0] || tick.Value > test[1] {
				t.Errorf("%v: mark at %g", test, tick.Value)
			}
		}
		if !one || len(ticks) < 3 || len(ticks) > 14 {
			t.Errorf("%v: marks %v", test, ticks)
		}
	}
}

// TestNoPlotWithoutRatios leaves out a figure that has none, such as a count that may be 0.
func TestNoPlotWithoutRatios(t *testing.T) {
	w := bench.WorkResult{Name: "operations", References: []string{"anyport"}}
	f := bench.FigureResult{Subjects: []bench.FigureSeries{{Name: "anyport", Series: []float64{0}}}}
	if svg, err := plotted(w, f); svg != "" || err != nil {
		t.Errorf("%q, %v", svg, err)
	}
}
