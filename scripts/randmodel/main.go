// Command randmodel writes a Llama with random weights as a Hugging Face directory, for benchmarks: how fast a model is
// does not depend on the values of its weights. It can write rows of random tokens for that model, and adapters, too.
//
//	go run ./scripts/randmodel --size 110m --dtype bfloat16 build/bench/110m
//	go run ./scripts/randmodel --size 110m --data rows.jsonl --rows 48 --length 256
//	go run ./scripts/randmodel --size 110m --adapter shira --r 32 --seed 1 build/bench/110m-shira
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// options are the flags and the argument.
type options struct {
	size         size
	dtype        checkpoint.DType
	out          string // "" when only rows are asked for
	data         string // "" for none
	rows, length int
	adapter      string // the method of the adapter to write in the model's place; "" for the model
	r            int
	seed         uint64
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "randmodel:", err)
		os.Exit(int(fault.KindOf(err)))
	}
}

func run(args []string, w io.Writer) error {
	o, err := parse(args, w)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.adapter != "" {
		if err := writeAdapter(o.out, o.size, o.adapter, o.r, o.seed); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: a %s adapter\n", o.out, o.adapter)
	} else if o.out != "" {
		if err := writeModel(o.out, o.size, o.dtype); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %d parameters in %v\n", o.out, o.size.parameters(), o.dtype)
	}
	if o.data != "" {
		if err := writeRows(o.data, o.size.VocabSize, o.rows, o.length); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %d rows of %d tokens\n", o.data, o.rows, o.length)
	}
	return nil
}

func parse(args []string, w io.Writer) (options, error) {
	var o options
	var dtype string
	flags := flag.NewFlagSet("randmodel", flag.ContinueOnError)
	name := flags.String("size", "", "shape of the model: "+sizeNames())
	flags.StringVar(&dtype, "dtype", "float32", "`type` of the weights: float32 or bfloat16")
	flags.StringVar(&o.data, "data", "", "`file` for rows of random tokens")
	flags.IntVar(&o.rows, "rows", 32, "`number` of rows")
	flags.IntVar(&o.length, "length", 256, "`tokens` in a row")
	flags.StringVar(&o.adapter, "adapter", "", "write an adapter of this `method` for the model: "+strings.Join(methods, ", "))
	flags.IntVar(&o.r, "r", 32, "`rank` or budget of the adapter")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that another adapter has another of")
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(w)
		fmt.Fprintln(w, "randmodel --size SIZE [flags] [OUT]: write a random Llama to the folder OUT")
		flags.PrintDefaults()
		return o, err
	} else if err != nil {
		return o, fault.Wrap(fault.Usage, "", err, "flags")
	}
	var ok bool
	if o.size, ok = sizeNamed(*name); !ok {
		return o, fault.New(fault.Usage, "", "--size: want one of %s, got %s", sizeNames(), fault.Quote(*name))
	}
	if o.dtype, ok = dtypes[dtype]; !ok {
		return o, fault.New(fault.Usage, "", "--dtype: want float32 or bfloat16, got %s", fault.Quote(dtype))
	}
	if o.rows < 1 || o.length < 2 {
		return o, fault.New(fault.Usage, "", "--rows and --length: want at least 1 and 2")
	}
	if o.adapter != "" && (!slices.Contains(methods, o.adapter) || o.r < 1) {
		return o, fault.New(fault.Usage, "", "--adapter: want one of %s, and a positive --r", strings.Join(methods, ", "))
	}
	if flags.NArg() > 1 || o.adapter != "" && flags.NArg() == 0 || flags.NArg() == 0 && o.data == "" {
		return o, fault.New(fault.Usage, "", "want one folder OUT, or --data FILE")
	}
	o.out = flags.Arg(0)
	return o, nil
}
