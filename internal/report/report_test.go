package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

// figures is one of each kind, with names that HTML would take for its own.
func figures() []Figure {
	x := []float64{1, 2, 3, 4}
	return []Figure{
		Lines{Title: "Loss <b>", Y: "nats & more", X: "step", Series: []Series{
			{Name: "raw \"loss\"", X: x, Y: []float64{4, math.NaN(), 3, math.Inf(1)}, Faint: true}, {Name: "smooth", X: x, Y: x, Points: true, Colour: 1}}},
		Lines{Title: "Norm", Log: true, X: "step", Series: []Series{{Name: "norm", X: x, Y: []float64{0, 1e-3, 1, 1e3}}}},
		Lines{Title: "Nothing", Series: []Series{{Name: "none", X: x, Y: []float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}}}},
		Lines{Title: "One value", X: "step", Series: []Series{{Name: "one", X: x[:1], Y: x[:1]}}},
		Matrix{Title: "Entries", X: "layer", Rows: []string{"q_proj<", "v_proj"}, Cols: []string{"0", "1"}, Values: [][]float64{{1, 20000}, {math.NaN(), 3}}},
		Matrix{Title: "Cosine", Rows: []string{"a"}, Cols: []string{"a"}, Values: [][]float64{{-1}}, Signed: true, Whole: true},
		Bars{Title: "Speed", Rows: []Bar{{Name: "ours", Value: 3}, {Name: "theirs", Value: 0, Text: "none"}}},
		Table{Head: []string{"a", "b"}, Rows: [][]string{{"<script>", "1"}}},
		Text{Title: "Sample", Body: "</pre><script>alert(1)</script>"},
	}
}

// TestFigures reads every figure as XML, which has no tag open, no value unquoted and no character unescaped.
func TestFigures(t *testing.T) {
	for i, f := range figures() {
		text := string(f.render())
		dec := xml.NewDecoder(strings.NewReader("<div>" + strings.ReplaceAll(text, "data-chart ", `data-chart="" `) + "</div>"))
		for {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("figure %d: %v\n%s", i, err, text)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("figure %d has a number that is none: %s", i, text)
		}
	}
}

func TestPage(t *testing.T) {
	p := Page{Title: "A <run>", Subtitle: "of & on", Facts: []Fact{{"loss", "<3", "nats"}}, Footer: "the end",
		Sections: []Section{{Title: "Figures", Note: "all of them", Figures: figures()}}}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"A &lt;run&gt;", "&lt;3", "q_proj&lt;", "&lt;script&gt;"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "ZgotmplZ") || strings.Count(text, "<script>") != 1 {
		t.Error("a text was taken for HTML")
	}
	// Self-contained: nothing is loaded from anywhere.
	if at := regexp.MustCompile(`https?:|src=|href=|url\(|@import`).FindString(text); at != "" {
		t.Errorf("the page refers to something outside of it: %s", at)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{0, 200, false, "0 50 100 150 200"},
		{1, 7, false, "2 4 6"},
		{2.91, 3.34, false, "3.0 3.1 3.2 3.3"},
		{0, 1e-2, false, "0 0.002 0.004 0.006 0.008 0.010"},
		{0, 5e-5, false, "0 1e-5 2e-5 3e-5 4e-5 5e-5"},
		{0, 25000, false, "0 5k 10k 15k 20k 25k"},
		{-1, 1, false, "-1.0 -0.5 0 0.5 1.0"},
		{5, 5, false, "4.6 4.8 5.0 5.2 5.4"},
		{1e-3, 1e3, true, "0.001 0.01 0.1 1 10 100 1,000"},
		{0.3, 4, true, "0.5 1 2"},
	} {
		var texts []string
		for _, k := range newAxis(c.low, c.high, 0, 100, c.log).ticks(5) {
			texts = append(texts, k.text)
		}
		if got := strings.Join(texts, " "); got != c.want {
			t.Errorf("%g to %g: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.2345: "1.23", 999.6: "1,000", 9994: "9,994", -9994: "-9,994", 12345: "12.3k", 2.5e6: "2.5M", 3e9: "3G", -20000: "-20k", 1e-5: "1e-5"} {
		if got := Number(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}

func TestCommas(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -15840: "-15,840", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := Commas(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestScale: a cell is as dark as its share of the scale, or of the largest value where there is none.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		most float64
		want string
	}{{0, "1.000"}, {1, "0.107"}, {0.01, "1.000"}} {
		text := string(Matrix{Rows: []string{"a"}, Cols: []string{"b"}, Values: [][]float64{{0.05}}, Most: c.most}.render())
		if !strings.Contains(text, `fill-opacity="`+c.want+`"`) {
			t.Errorf("of %g: no opacity of %s in %s", c.most, c.want, text)
		}
	}
}

func TestColumns(t *testing.T) {
	for n, want := range map[int]int{3: 8, 8: 8, 9: 5, 10: 5, 17: 6} {
		if got := columns(make([]Fact, n)); got != want {
			t.Errorf("%d facts: %d side by side, want %d", n, got, want)
		}
	}
}

func TestThin(t *testing.T) {
	var points []point
	for i := range 10000 {
		points = append(points, point{float64(i), 1})
	}
	points[5432].y = 9
	kept := thin(points)
	found := false
	for i, p := range kept {
		found = found || p.y == 9
		if i > 0 && p.x <= kept[i-1].x {
			t.Fatalf("point %d is out of order", i)
		}
	}
	if len(kept) > mostPoints || !found {
		t.Errorf("%d points, the outlier is there: %v", len(kept), found)
	}
}

func TestSmooth(t *testing.T) {
	// A value weighs half as much as its neighbour; one that is not finite is passed over.
	got := Smooth([]float64{4, 2, math.NaN(), 1}, 2)
	for i, want := range []float64{
		(4 + 2./2 + 1./8) / (1 + 1./2 + 1./8), (4./2 + 2 + 1./4) / (1./2 + 1 + 1./4),
		(4./4 + 2./2 + 1./2) / (1./4 + 1./2 + 1./2), (4./8 + 2./4 + 1) / (1./8 + 1./4 + 1),
	} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("value %d: %g, want %g", i, got[i], want)
		}
	}
}
