package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ratioTicks marks an axis of ratios that has a logarithmic scale: 1 and round values about it.
type ratioTicks struct{}

// Ticks is for plot.Ticker.
func (ratioTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for decade := math.Pow10(int(math.Floor(math.Log10(low)))); decade <= high; decade *= 10 {
		for _, m := range mantissas(high / low) {
			if v := m * decade; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 3, 64)})
			}
		}
	}
	return ticks
}

// mantissas are the ticks within a decade, so many that their numbers do not touch.
func mantissas(ratio float64) []float64 {
	switch {
	case ratio <= 2.5:
		return []float64{1, 1.1, 1.2, 1.3, 1.5, 1.75, 2, 3, 4, 5, 6, 7, 8, 9}
	case ratio <= 20:
		return []float64{1, 1.5, 2, 3, 4, 5, 7}
	case ratio <= 500:
		return []float64{1, 2, 5}
	}
	return []float64{1}
}
