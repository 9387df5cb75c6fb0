// Package tbevents writes TensorBoard's event files: records of a length, a protocol buffer tensorflow.Event, and checksums.
package tbevents

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"shira/internal/fsx"
)

// Writer appends events to a file. Each is written at once, so that a TensorBoard that is open shows it.
type Writer struct{ f *os.File }

// The fields of tensorflow.Event, Summary and Summary.Value that are used.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7
	summaryValue     = 1
	valueTag         = 1
	valueSimple      = 2
	sessionStatus    = 1
	sessionStart     = 1
)

// Create starts a file of its own in dir, which is made. TensorBoard is told to forget what earlier files say of the step
// first and later ones.
func Create(dir string, first int) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fsx.Wrap(err, dir, "make the directory of event files")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	path := filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%d.%s.%d.%d", now.Unix(), filepath.Base(host), os.Getpid(), now.Nanosecond()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fsx.Wrap(err, path, "write")
	}
	w := &Writer{f}
	version := protowire.AppendTag(header(now, 0), eventFileVersion, protowire.BytesType)
	err = w.record(protowire.AppendString(version, "brain.Event:2"))
	if err == nil {
		log := protowire.AppendVarint(protowire.AppendTag(nil, sessionStatus, protowire.VarintType), sessionStart)
		start := protowire.AppendTag(header(now, first), eventSessionLog, protowire.BytesType)
		err = w.record(protowire.AppendBytes(start, log))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// Scalar is a value and its name.
type Scalar struct {
	Tag   string
	Value float64
}

// Write appends the values after a step.
func (w *Writer) Write(step int, values ...Scalar) error {
	var summary []byte
	for _, v := range values {
		var b []byte
		b = protowire.AppendString(protowire.AppendTag(b, valueTag, protowire.BytesType), v.Tag)
		b = protowire.AppendFixed32(protowire.AppendTag(b, valueSimple, protowire.Fixed32Type), math.Float32bits(float32(v.Value)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), b)
	}
	event := protowire.AppendTag(header(time.Now(), step), eventSummary, protowire.BytesType)
	return w.record(protowire.AppendBytes(event, summary))
}

// Close closes the file.
func (w *Writer) Close() error { return fsx.Wrap(w.f.Close(), w.f.Name(), "write") }

// header begins an event.
func header(at time.Time, step int) []byte {
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixNano())/1e9))
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(step))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of TFRecord files, which is not that of data that holds checksums itself.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// record writes an event in its frame: the length and its checksum, the event and its checksum.
func (w *Writer) record(event []byte) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(event)))
	b = binary.LittleEndian.AppendUint32(b, masked(b))
	b = append(b, event...)
	b = binary.LittleEndian.AppendUint32(b, masked(event))
	_, err := w.f.Write(b)
	return fsx.Wrap(err, w.f.Name(), "write")
}
