package report

import (
	"math"
	"strconv"
	"strings"
)

// axis maps values to pixels.
type axis struct {
	low, high float64 // values at the ends
	at0, at1  float64 // pixels there
	log       bool
}

// newAxis covers the values from low to high, with some room where they are one.
func newAxis(low, high, at0, at1 float64, log bool) axis {
	if low == high {
		room := math.Max(math.Abs(low)*0.1, 1e-12)
		if low, high = low-room, high+room; log && low <= 0 {
			low = high / 10
		}
	}
	return axis{low, high, at0, at1, log}
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	return a.at0 + (v-low)/(high-low)*(a.at1-a.at0)
}

// tick is a mark on an axis.
type tick struct {
	value float64
	text  string
}

// ticks returns marks at round values, about count of them.
func (a axis) ticks(count int) []tick {
	if a.log {
		return a.logTicks()
	}
	step := niceStep((a.high - a.low) / float64(count))
	var list []tick
	for i := math.Ceil(a.low/step - 1e-9); i*step <= a.high+step*1e-9; i++ {
		list = append(list, tick{i * step, tickText(i*step, step, math.Max(math.Abs(a.low), math.Abs(a.high)))})
	}
	return list
}

// logTicks are the powers of ten, and where those are few, 2 and 5 times them.
func (a axis) logTicks() []tick {
	factors := []float64{1}
	if math.Log10(a.high/a.low) < 2.5 {
		factors = []float64{1, 2, 5}
	}
	var list []tick
	for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
		for _, f := range factors {
			if v := f * math.Pow(10, e); v >= a.low*(1-1e-9) && v <= a.high*(1+1e-9) {
				list = append(list, tick{v, Number(v)})
			}
		}
	}
	return list
}

// niceStep returns the 1, 2 or 5 times a power of ten that is nearest above v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// tickText writes a tick with as many digits as its neighbours at a distance of step need.
func tickText(v, step, largest float64) string {
	unit := ""
	switch {
	case v == 0:
		return "0"
	case largest >= 1e10:
		v, step, unit = v/1e9, step/1e9, "G"
	case largest >= 1e7:
		v, step, unit = v/1e6, step/1e6, "M"
	case largest >= 1e4:
		v, step, unit = v/1e3, step/1e3, "k"
	case largest < 1e-3:
		e := math.Floor(math.Log10(largest))
		power := math.Pow(10, e)
		return strconv.FormatFloat(v/power, 'f', decimals(step/power), 64) + "e" + strconv.Itoa(int(e))
	}
	return strconv.FormatFloat(v, 'f', decimals(step), 64) + unit
}

func decimals(step float64) int { return int(math.Max(0, -math.Floor(math.Log10(step)+1e-9))) }

// Commas writes a whole number with thousands separated: 15,840.
func Commas(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Number writes a value in few characters: 3 significant digits, with k, M or G for thousands, millions and billions.
func Number(v float64) string {
	a := math.Abs(v)
	digits := func(v float64) string { return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "e-0", "e-", 1) }
	switch {
	case a >= 999.5e6:
		return digits(v/1e9) + "G"
	case a >= 999.5e3:
		return digits(v/1e6) + "M"
	case a >= 9995:
		return digits(v/1e3) + "k"
	case a >= 999.5:
		return Commas(int64(math.Round(v)))
	}
	return digits(v)
}
