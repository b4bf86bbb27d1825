package bench

import (
	"math/rand/v2"
	"slices"
)

// result evaluates the samples of a work, by subject and round.
func (w *Work) result(samples [][]Sample, rng *rand.Rand) WorkResult {
	r := WorkResult{Name: w.Name, References: w.References, Control: w.Control}
	for i, subject := range w.Subjects {
		s := SubjectResult{Name: subject.Name}
		for _, sample := range samples[i] {
			s.Generator = append(s.Generator, sample.Generator)
			s.Lost = append(s.Lost, sample.Lost)
			s.Errors = append(s.Errors, sample.Errors)
		}
		r.Subjects = append(r.Subjects, s)
	}
	for i, figure := range w.Figures {
		r.Figures = append(r.Figures, w.figure(figure, samples, func(s Sample) float64 { return s.Values[i] }))
	}
	r.addCost(w.figure(Figure{Name: "CPU time of the whole machine", Unit: "ns/" + w.Per}, samples,
		func(s Sample) float64 { return s.Machine }))
	r.addCost(w.figure(Figure{Name: "CPU time of the proxy or server", Unit: "ns/" + w.Per}, samples,
		func(s Sample) float64 { return s.Process }))
	for i := range r.Figures {
		r.compare(&r.Figures[i], rng)
	}
	return r
}

func (w *Work) figure(f Figure, samples [][]Sample, of func(Sample) float64) FigureResult {
	r := FigureResult{Name: f.Name, Unit: f.Unit, Better: LessIsBetter}
	if f.More {
		r.Better = MoreIsBetter
	}
	for i, subject := range w.Subjects {
		s := FigureSeries{Name: subject.Name, Series: make([]float64, len(samples[i]))}
		for round, sample := range samples[i] {
			s.Series[round] = of(sample)
		}
		s.Summary = Summarise(s.Series)
		r.Subjects = append(r.Subjects, s)
	}
	return r
}

// addCost adds a figure without the subjects that it was not read of, if any is left.
func (r *WorkResult) addCost(f FigureResult) {
	f.Subjects = slices.DeleteFunc(f.Subjects, func(s FigureSeries) bool { return !s.comparable() })
	if len(f.Subjects) > 0 {
		r.Figures = append(r.Figures, f)
	}
}

// compare fills in how the subjects of a figure compare with the references.
func (r *WorkResult) compare(f *FigureResult, rng *rand.Rand) {
	control, first := f.Subject(r.Control), f.Subject(r.References[0])
	if control == nil || first == nil || !control.comparable() || !first.comparable() {
		return
	}
	noise := Compare(control.Series, first.Series, rng)
	for i := range f.Subjects {
		s := &f.Subjects[i]
		for _, name := range r.References {
			reference := f.Subject(name)
			if reference == nil || !reference.comparable() {
				continue
			}
			ratio := noise
			if s != control || reference != first {
				ratio = Compare(s.Series, reference.Series, rng)
			}
			s.Against = append(s.Against, Comparison{name, ratio, !ratio.Overlaps(noise)})
		}
	}
}

// Subject returns the series of a subject, or nil.
func (f *FigureResult) Subject(name string) *FigureSeries {
	i := slices.IndexFunc(f.Subjects, func(s FigureSeries) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Subjects[i]
}

// comparable reports whether there are ratios to the series.
func (s *FigureSeries) comparable() bool { return len(s.Series) > 0 && slices.Min(s.Series) > 0 }

// To returns how the series compares with a reference, or nil.
func (s *FigureSeries) To(reference string) *Comparison {
	i := slices.IndexFunc(s.Against, func(c Comparison) bool { return c.Reference == reference })
	if i < 0 {
		return nil
	}
	return &s.Against[i]
}
