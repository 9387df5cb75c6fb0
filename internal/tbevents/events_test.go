package tbevents

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestMasked compares with values of TensorBoard's own record writer.
func TestMasked(t *testing.T) {
	for data, want := range map[string]uint32{"": 0xa282ead8, "616263": 0x21f1576e, "000102030405060708090a0b0c0d0e0f": 0xb45a9e6a, "1800000000000000": 0x224b7fa3} {
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := masked(b); got != want {
			t.Errorf("%s: %#x, want %#x", data, got, want)
		}
	}
}

// fields reads a message of the fields that are written here: numbers of 32 and 64 bits, varints, and bytes.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	m := map[protowire.Number][][]byte{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		value := b[:n]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b)
		}
		m[number] = append(m[number], value)
		b = b[n:]
	}
	return m
}

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	w, err := Create(dir, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(300, Scalar{"train/loss", 2.5}, Scalar{"train/grad_norm", 0.125}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(w.f.Name())
	if err != nil {
		t.Fatal(err)
	}
	var events []map[protowire.Number][][]byte
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint32(b[8:]) != masked(b[:8]) || binary.LittleEndian.Uint32(b[12+n:]) != masked(b[12:12+n]) {
			t.Fatal("a checksum is wrong")
		}
		events = append(events, fields(t, b[12:12+n]))
		b = b[16+n:]
	}
	if len(events) != 3 || string(events[0][eventFileVersion][0]) != "brain.Event:2" {
		t.Fatalf("events %v", events)
	}
	if step, _ := protowire.ConsumeVarint(events[1][eventStep][0]); step != 6 || events[1][eventSessionLog] == nil {
		t.Errorf("the start at step 6: %v", events[1])
	}
	if step, _ := protowire.ConsumeVarint(events[2][eventStep][0]); step != 300 {
		t.Errorf("step %d", step)
	}
	values := fields(t, events[2][eventSummary][0])[summaryValue]
	v := fields(t, values[1])
	if len(values) != 2 || string(v[valueTag][0]) != "train/grad_norm" || math.Float32frombits(binary.LittleEndian.Uint32(v[valueSimple][0])) != 0.125 {
		t.Errorf("values %v", values)
	}
}

func TestCreateErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(file, "runs"), 0); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}
