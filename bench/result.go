package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Schema is the version of the JSON that Write produces. It grows by one when a field changes its meaning or goes.
const Schema = 1

// Result is one run of one suite: what Write stores and the tables are made from.
type Result struct {
	Schema      int          `json:"schema"`
	Suite       string       `json:"suite"`
	Command     []string     `json:"command"` // that prints it again
	Started     time.Time    `json:"started"`
	Seconds     float64      `json:"seconds"` // that the whole run took
	Seed        uint64       `json:"seed"`
	Environment Environment  `json:"environment"`
	Works       []WorkResult `json:"works"`
	LeftOut     []LeftOut    `json:"left_out"` // what could not be measured here
}

// LeftOut is a subject that this machine cannot run.
type LeftOut struct {
	Subject string `json:"subject"`
	Why     string `json:"why"`
}

// WorkResult is the result of one Work.
type WorkResult struct {
	Name       string          `json:"name"`
	Unit       string          `json:"unit"` // less is better
	References []string        `json:"references"`
	Control    string          `json:"control"` // the subject that is the first reference built a second time
	Subjects   []SubjectResult `json:"subjects"`
}

// SubjectResult is what one subject did, and how it compares with each of the references.
type SubjectResult struct {
	Name   string    `json:"name"`
	Series []float64 `json:"series"` // one value a round, in the unit of the work
	Lost   int       `json:"lost"`   // packets or connections, over all rounds
	Summary
	Against []Comparison `json:"against"` // in the order of WorkResult.References
}

// Comparison is the ratio to one reference.
type Comparison struct {
	Reference string `json:"reference"`
	Ratio
	// Shown reports whether the interval is clear of the A/A control's. Where it is not, no difference is shown.
	Shown bool `json:"difference_shown"`
}

func (w *Work) result(samples [][]Sample, rng *rand.Rand) WorkResult {
	r := WorkResult{Name: w.Name, Unit: w.Unit, References: w.References, Control: w.Control}
	byName := make(map[string][]float64)
	for i, subject := range w.Subjects {
		s := SubjectResult{Name: subject.Name}
		for _, sample := range samples[i] {
			s.Series = append(s.Series, sample.Value)
			s.Lost += sample.Lost
		}
		s.Summary = Summarise(s.Series)
		byName[s.Name] = s.Series
		r.Subjects = append(r.Subjects, s)
	}
	control := Compare(byName[w.Control], byName[w.References[0]], rng)
	for i := range r.Subjects {
		s := &r.Subjects[i]
		for _, reference := range w.References {
			ratio := Compare(s.Series, byName[reference], rng)
			s.Against = append(s.Against, Comparison{reference, ratio, !ratio.Overlaps(control)})
		}
	}
	return r
}

// Write stores the result as SUITE.json in a folder, which it makes if need be, and returns the file's path.
func (r *Result) Write(dir string) (string, error) {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return "", fmt.Errorf("encode the result: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the result's folder: %w", err)
	}
	path := filepath.Join(dir, r.Suite+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write the result: %w", err)
	}
	return path, nil
}
