// Command store is client-go's side of the benchmarks `store`, `readers` and `pipeline` of this workspace.
//
// In: the name of an operation, and its flags. Out: one JSON line on stdout, a [figure], field by field what the benchmark's
// own programs print (round.rs).
//
//	store store --objects 100000
//	store bytes --objects 100000
//	store readers --objects 100000 --millis 400 --load 8-list
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// figure is what one run gives.
type figure struct {
	Rows map[string]float64 `json:"rows"`
	// Counted says what was done, for the benchmark to compare.
	Counted map[string]uint64 `json:"counted"`
}

func newFigure() figure { return figure{map[string]float64{}, map[string]uint64{}} }

// names is a flag that may be given several times.
type names []string

func (n *names) String() string { return fmt.Sprint(*n) }

func (n *names) Set(name string) error {
	*n = append(*n, name)
	return nil
}

func main() {
	if len(os.Args) < 2 {
		fail("the name of an operation is missing: store, bytes, readers or pipeline")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	count := flags.Int("objects", 100_000, "how many objects")
	var run func() figure
	switch os.Args[1] {
	case "store":
		run = func() figure { return rows(objects(*count)) }
	case "bytes":
		run = func() figure { return bytes(objects(*count)) }
	case "readers":
		millis := flags.Int("millis", 400, "how long each cell is")
		var loads names
		flags.Var(&loads, "load", "a load; may be given several times")
		run = func() figure { return cells(objects(*count), time.Duration(*millis)*time.Millisecond, loads) }
	case "pipeline":
		updates := flags.Int("updates", 300_000, "how many updates")
		workers := flags.Int("workers", 4, "how many workers")
		run = func() figure { return pipeline(objects(*count), *updates, *workers) }
	default:
		fail("%q is not an operation", os.Args[1])
	}
	_ = flags.Parse(os.Args[2:]) // Ends the program itself where it fails.
	if flags.NArg() > 0 {
		fail("%q is not expected", flags.Arg(0))
	}
	if *count < 1 {
		fail("there must be at least 1 object")
	}
	if err := json.NewEncoder(os.Stdout).Encode(run()); err != nil {
		fail("cannot write the figure: %v", err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "client-go: "+format+"\n", arguments...)
	os.Exit(2)
}
