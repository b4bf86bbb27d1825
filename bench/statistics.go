package bench

import (
	"math/rand/v2"
	"slices"
)

// Summary describes one series of measurements.
type Summary struct {
	Median float64 `json:"median"`
	Q1     float64 `json:"q1"` // the first quartile
	Q3     float64 `json:"q3"` // the third quartile
}

// Summarise returns the median and the quartiles of a series, which must not be empty.
func Summarise(series []float64) Summary {
	sorted := slices.Sorted(slices.Values(series))
	return Summary{Median: quantile(sorted, 0.5), Q1: quantile(sorted, 0.25), Q3: quantile(sorted, 0.75)}
}

// quantile interpolates linearly between the two nearest values (type 7 of Hyndman and Fan, 1996).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// Ratio is how one subject compares with another: the median over the rounds of the ratio within a round, and the
// interval that holds it with a confidence of 95 %.
type Ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// resamples gives the ends of a 95 % interval to about a tenth of its width (Efron and Tibshirani, 1993, chapter 13).
const resamples = 2000

// Compare returns the ratio of two series whose i-th values come from the same round, so that what changes slowly on
// the machine drops out. The interval is a percentile bootstrap over the rounds.
func Compare(series, reference []float64, rng *rand.Rand) Ratio {
	ratios := make([]float64, len(series))
	for i := range ratios {
		ratios[i] = series[i] / reference[i]
	}
	medians := make([]float64, resamples)
	resample := make([]float64, len(ratios))
	for i := range medians {
		for j := range resample {
			resample[j] = ratios[rng.IntN(len(ratios))]
		}
		slices.Sort(resample)
		medians[i] = quantile(resample, 0.5)
	}
	slices.Sort(medians)
	slices.Sort(ratios)
	return Ratio{Median: quantile(ratios, 0.5), Low: quantile(medians, 0.025), High: quantile(medians, 0.975)}
}

// Overlaps reports whether the intervals of two ratios share a value.
func (r Ratio) Overlaps(other Ratio) bool { return r.Low <= other.High && other.Low <= r.High }
