// Shira fine-tunes, fuses and evaluates sparse adapters of safetensors checkpoints.
package main

import (
	"os"

	"shira/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
