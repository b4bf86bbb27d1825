package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Schema is the version of the JSON that Write produces. It grows by one when a field changes its meaning or goes;
// bench/results/README.md describes the fields.
const Schema = 2

// Result is one run of one suite: what Write stores and the tables and plots are made from.
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
	References []string        `json:"references"`
	Control    string          `json:"control"` // the subject that is the first reference built a second time
	Subjects   []SubjectResult `json:"subjects"`
	Figures    []FigureResult  `json:"figures"` // those of the work, then CPU times where they were read
}

// SubjectResult is what went wrong with a subject, and how busy its load generator was: one value a round each.
type SubjectResult struct {
	Name      string    `json:"name"`
	Generator []float64 `json:"generator"` // shares, from 0 to 1; 0 where it was not read
	Lost      []int     `json:"lost"`
	Errors    []int     `json:"errors"`
}

// The values of FigureResult.Better.
const (
	LessIsBetter = "less"
	MoreIsBetter = "more"
)

// FigureResult is one Figure of all subjects that have it, in the order of WorkResult.Subjects.
type FigureResult struct {
	Name     string         `json:"name"`
	Unit     string         `json:"unit"`
	Better   string         `json:"better"`
	Subjects []FigureSeries `json:"subjects"`
}

// FigureSeries is a figure of one subject, and how it compares with each of the references.
type FigureSeries struct {
	Name   string    `json:"name"`
	Series []float64 `json:"series"` // one value a round
	Summary
	// Against is in the order of WorkResult.References. A reference that lacks the figure, or is 0 in a round, is left
	// out, and so is one whose A/A control lacks it.
	Against []Comparison `json:"against"`
}

// Comparison is the ratio to one reference.
type Comparison struct {
	Reference string `json:"reference"`
	Ratio
	// Shown reports whether the interval is clear of the A/A control's. Where it is not, no difference is shown.
	Shown bool `json:"difference_shown"`
}

// numbers is an indented JSON array of numbers alone.
var numbers = regexp.MustCompile(`\[\s+(-?[0-9][-+.0-9eE]*,\s+)*-?[0-9][-+.0-9eE]*\s+\]`)

// encode returns the result as indented JSON with each series on one line.
func (r *Result) encode() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	text = numbers.ReplaceAllFunc(text, func(array []byte) []byte {
		return []byte(strings.Join(strings.Fields(string(array)), ""))
	})
	return append(text, '\n'), nil
}

// Write stores the result as SUITE.json in a folder, which it makes if need be, and returns the file's path.
func (r *Result) Write(dir string) (string, error) {
	text, err := r.encode()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the result's folder: %w", err)
	}
	path := filepath.Join(dir, r.Suite+".json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("write the result: %w", err)
	}
	return path, nil
}
