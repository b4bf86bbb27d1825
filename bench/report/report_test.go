package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"anyport/bench"
	"anyport/bench/netlab"
)

// subject has values about a mean, with the means of CPU times beside it.
func subject(rng *rand.Rand, name string, mean float64) bench.Subject {
	return bench.Subject{Name: name, Measure: func() (bench.Sample, error) {
		v := mean * (1 + 0.02*rng.NormFloat64())
		return bench.Sample{
			Values: []float64{v, 1e6 / v},
			Cost:   bench.Cost{Machine: 3 * v, Process: v, Generator: 0.4},
			Errors: int(mean) / 100,
		}, nil
	}}
}

// results makes two results the usual way, with subjects of every kind of row.
func results(t *testing.T) []*bench.Result {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	work := bench.Work{
		Name: "IPv4 & <IPv6>: connections", Per: "connection",
		Figures:    []bench.Figure{{Name: "time", Unit: "us"}, {Name: "rate", Unit: "connections/s", More: true}},
		References: []string{"plain", "sk_lookup"}, Control: "plain again",
		Subjects: []bench.Subject{
			subject(rng, "plain", 100), subject(rng, "plain again", 100), subject(rng, "sk_lookup", 100.1),
			subject(rng, "TPROXY", 173), subject(rng, "faster", 61),
		},
	}
	var all []*bench.Result
	for _, suite := range []string{"one", "two"} {
		works, err := bench.Run(t.Context(), []bench.Work{work, work}, bench.Plan{Rounds: 15, Limit: time.Hour, Seed: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &bench.Result{
			Schema: bench.Schema, Suite: suite, Command: []string{"anyport-bench", "all", "--out", "dir"}, Works: works,
			Environment: bench.Describe("v1", "sh"),
			LeftOut:     []bench.LeftOut{{Subject: "NSD", Why: "there is no nsd (Debian package nsd)"}},
		})
	}
	return all
}

// TestReportNeedsNothingElse looks for whatever could make a browser ask for something.
func TestReportNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, results(t)...); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`xmlns(:xlink)?="[^"]*"`).ReplaceAllString(b.String(), "")
	for _, wrong := range []string{"http:", "https:", "src=", "url(", "@import", "<script", "<link", "<?xml", "ZgotmplZ"} {
		if strings.Contains(text, wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
	if n := strings.Count(text, "<IPv6>"); n > 0 {
		t.Errorf("%d names of works are not escaped", n)
	}
}

// TestReportInBrowser opens the page in Chromium, in a namespace without any link, and holds what it shows against the
// JSON: each plot and each table has every subject with the ratios that the JSON has.
func TestReportInBrowser(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "chromium")
	dir := t.TempDir()
	var stored []*bench.Result
	for _, r := range results(t) {
		path, err := r.Write(dir)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, readResult(t, path))
	}
	page, err := WriteFile(dir, "report.html", results(t)...)
	if err != nil {
		t.Fatal(err)
	}
	b := browser{t: t, ns: isolated(t), dir: dir}
	dom := string(b.open(page, "--dump-dom"))
	plots, tables := pieces(dom, "<svg", "</svg>"), pieces(dom, "<table>", "</table>") // that of facts has a class
	figures := 0
	for _, r := range stored {
		for _, w := range r.Works {
			for _, f := range w.Figures {
				if figures < min(len(plots), len(tables)) {
					checkPlot(t, plots[figures], w, f)
					checkTable(t, tables[figures], w, f)
				}
				figures++
			}
		}
	}
	if len(plots) != figures || len(tables) != figures {
		t.Errorf("the page shows %d plots and %d tables, the JSON has %d figures", len(plots), len(tables), figures)
	}
	checkOverviews(t, pieces(dom, `<table class="overview">`, "</table>"), stored)
	shot := filepath.Join(dir, "report.png")
	b.open(page, "--window-size=1100,2400", "--screenshot="+shot)
	checkPicture(t, shot)
}

func readResult(t *testing.T, path string) *bench.Result {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := new(bench.Result)
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// isolated returns a namespace without a way out.
func isolated(t *testing.T) *netlab.Namespace {
	t.Helper()
	ns, err := netlab.New(t).Add("browser")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

type browser struct {
	t   *testing.T
	ns  *netlab.Namespace
	dir string
}

// open returns what Chromium prints.
func (b *browser) open(page string, flags ...string) []byte {
	b.t.Helper()
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + b.t.TempDir(),
	}
	cmd := b.ns.Command("chromium", append(append(args, flags...), "file://"+page)...)
	cmd.Env = append(os.Environ(), "HOME="+b.dir)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("chromium: %v\n%s", err, &errors)
	}
	return out
}

// pieces returns what is between two marks.
func pieces(text, begin, end string) (found []string) {
	for {
		_, rest, ok := strings.Cut(text, begin)
		if !ok {
			return found
		}
		piece, after, _ := strings.Cut(rest, end)
		found, text = append(found, piece), after
	}
}

// checkPlot looks for the name and the ratio of every subject among the visible texts.
func checkPlot(t *testing.T, svg string, w bench.WorkResult, f bench.FigureResult) {
	t.Helper()
	var visible []string
	for _, element := range pieces(svg, "<text", "</text>") {
		_, text, _ := strings.Cut(element, ">")
		visible = append(visible, text)
	}
	shown := strings.Join(visible, "\n") + "\n"
	for _, s := range f.Subjects {
		want := s.Name + "\n" + s.To(w.References[0]).Ratio.String() + "\n"
		if s.Name == w.References[0] {
			want = s.Name + "\n1\n"
		}
		if !strings.Contains(shown, want) {
			t.Errorf("plot of %s has no %q among\n%s", f.Name, want, shown)
		}
	}
}

// checkTable looks for the row of every subject.
func checkTable(t *testing.T, table string, w bench.WorkResult, f bench.FigureResult) {
	t.Helper()
	for _, s := range f.Subjects {
		_, row, ok := strings.Cut(table, "<tr><th>"+s.Name+"</th>")
		row, _, _ = strings.Cut(row, "</tr>")
		want := fmt.Sprintf(`<td class="n">%s</td><td class="n">%s–%s</td>`,
			bench.Number(s.Median), bench.Number(s.Q1), bench.Number(s.Q3))
		if !ok || !strings.Contains(row, want) {
			t.Errorf("table of %s, row %s has no %q: %q", f.Name, s.Name, want, row)
		}
		for i, reference := range w.References {
			if text := s.To(reference).Text(s.Name, i == 0 && s.Name == w.Control); !strings.Contains(row, ">"+text+"</td>") {
				t.Errorf("table of %s, row %s has no %q: %q", f.Name, s.Name, text, row)
			}
		}
	}
}

// checkOverviews looks for the A/A control of every work in the table that begins its suite.
func checkOverviews(t *testing.T, tables []string, results []*bench.Result) {
	t.Helper()
	if len(tables) != len(results) {
		t.Fatalf("%d overviews of %d suites", len(tables), len(results))
	}
	for i, r := range results {
		rows := pieces(tables[i], "<tr><td>", "</tr>")
		if len(rows) != len(r.Works) {
			t.Fatalf("overview of %s has %d rows for %d works", r.Suite, len(rows), len(r.Works))
		}
		for j, w := range r.Works {
			want := w.Figures[0].Subject(w.Control).To(w.References[0]).Ratio.String()
			if !strings.Contains(rows[j], "<td>"+want+"</td>") {
				t.Errorf("overview of %s has no %q in %q", r.Suite, want, rows[j])
			}
		}
	}
}

// checkPicture looks for marks of every kind in the picture of a page: what is in the document may yet not be seen.
func checkPicture(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]color.RGBA{"better": blue, "worse": vermilion, "no difference": grey, "band": bandGrey} {
		// The text above the plots has these colours too, but less than half as much of them.
		if n := pixels(picture, c); n < 400 {
			t.Errorf("%d pixels have the colour of %s", n, name)
		}
	}
	if got := color.RGBAModel.Convert(picture.At(2, 2)); got != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("the background is %v", got)
	}
}

func pixels(picture image.Image, c color.RGBA) (n int) {
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			if color.RGBAModel.Convert(picture.At(x, y)) == c {
				n++
			}
		}
	}
	return n
}
