package switcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shira/internal/adapter"
	"shira/internal/fsx"
)

// BenchmarkOnDisk switches the model at SHIRA_BENCH_MODEL between the two adapters of SHIRA_BENCH_ADAPTERS, and back in the
// end. Beside it runs what no switch in place can do without: a file as large as the journal is written and synced, and the
// same bytes of the weights are written to a copy of theirs and synced.
func BenchmarkOnDisk(b *testing.B) {
	model, adapters := os.Getenv("SHIRA_BENCH_MODEL"), strings.Fields(os.Getenv("SHIRA_BENCH_ADAPTERS"))
	if model == "" || len(adapters) != 2 {
		b.Skip("SHIRA_BENCH_MODEL and SHIRA_BENCH_ADAPTERS name no model and two adapters")
	}
	to := func(refs ...adapter.Ref) *Report {
		r, err := Switch(context.Background(), Options{Model: model, Adapters: refs})
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	to(adapter.Ref{Path: adapters[1], Weight: 1})
	defer to()
	var ours, theirs, ratios []float64
	for b.Loop() {
		r := to(adapter.Ref{Path: adapters[len(ours)%2], Weight: 1})
		beside := reference(b, model, r)
		ours, theirs, ratios = append(ours, r.Seconds), append(theirs, beside), append(ratios, r.Seconds/beside)
		b.Logf("%.2f s (journal %.2f, weights %.2f), the same bytes %.2f s", r.Seconds, r.Times.Journal, r.Times.Weights, beside)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "s/switch")
	b.ReportMetric(median(theirs), "s/reference")
	b.ReportMetric(median(ratios), "ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// reference returns the seconds that writing and syncing the same bytes take.
func reference(b *testing.B, model string, r *Report) float64 {
	dir := filepath.Dir(model)
	f, err := fsx.OpenFS(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	name := fmt.Sprintf("reference-%d", os.Getpid())
	write := func(suffix string, n int64) {
		buf := make([]byte, 1<<20)
		file, err := f.Create(name + suffix)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		for off := int64(0); off < n; off += int64(len(buf)) {
			if _, err := file.WriteAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
		if err := file.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	defer f.Remove(name + ".weights")
	defer f.Remove(name + ".journal")
	write(".weights", r.Written) // so that the file has its blocks, as the model's has
	start := time.Now()
	write(".journal", r.Journal)
	file, err := f.Open(name+".weights", true)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < r.Written; off += int64(len(buf)) {
		if _, err := file.WriteAt(buf, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := file.Datasync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start).Seconds()
}
