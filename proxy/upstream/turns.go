package upstream

import (
	"cmp"
	"slices"
)

// turns returns the order in which round robin takes places: each as often as its weight says, and evenly spread, so
// that weights 3 and 1 give A A B A rather than A A A B.
func turns(list []Endpoint, places []uint8) []uint8 {
	type turn struct {
		at    float64 // in the middle of its part of the round
		place uint8
	}
	var round []turn
	divisor := commonDivisor(list, places)
	for _, p := range places {
		n := list[p].weight() / divisor
		for i := range n {
			round = append(round, turn{(float64(i) + 0.5) / float64(n), p})
		}
	}
	slices.SortStableFunc(round, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	order := make([]uint8, len(round))
	for i, t := range round {
		order[i] = t.place
	}
	return order
}

// commonDivisor is the greatest one of the weights: what makes a round short.
func commonDivisor(list []Endpoint, places []uint8) uint64 {
	divisor := uint64(0)
	for _, p := range places {
		a, b := list[p].weight(), divisor
		for b > 0 {
			a, b = b, a%b
		}
		divisor = a
	}
	return divisor
}
