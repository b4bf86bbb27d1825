package bench

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestTableOfCount prints a figure without a unit.
func TestTableOfCount(t *testing.T) {
	w := Work{
		Name: "idle", Figures: []Figure{{Name: "descriptors of one"}, {Name: "memory of one", Unit: "B"}},
		Subjects: []Subject{{Name: "a"}, {Name: "b"}}, References: []string{"a"}, Control: "b",
	}
	sample := Sample{Values: []float64{2, 160}}
	r := Result{Works: []WorkResult{w.result([][]Sample{{sample}, {sample}}, rand.New(rand.NewPCG(1, 1)))}}
	var text strings.Builder
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"idle: descriptors of one (less is better)", "idle: memory of one, B (less is better)"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}
