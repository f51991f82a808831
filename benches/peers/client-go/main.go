// Command client-go measures client-go's work queue for the `queue` benchmark of this workspace.
//
// In: the name of one operation, and its size as flags. Out: one JSON line on stdout, a [figure]. It takes one figure
// and ends, so that each starts with an empty heap; the benchmark runs it once a round, in turn with our own queue.
// GOMAXPROCS, GOGC and the queue's config are left at their defaults; the queue has no name, so it keeps no metrics.
//
//	client-go cycle --keys 100000 --n 1000000
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

// size is how much is to be measured.
type size struct {
	// keys is how many different keys there are.
	keys int
	// n is how many operations are measured.
	n int
	// producers and consumers are goroutines; only `adds` and `wake` have them.
	producers, consumers int
}

// figure is what one measure gives; which fields are set depends on the operation.
type figure struct {
	// Nanos is the cost of one operation.
	Nanos float64 `json:"nanos,omitempty"`
	// ProcessNanos is the same with the garbage collector's threads, where Nanos is of one thread.
	ProcessNanos float64 `json:"processNanos,omitempty"`
	// Bytes is the live heap of one key.
	Bytes float64 `json:"bytes,omitempty"`
	// PerSecond is a rate by the clock on the wall.
	PerSecond float64 `json:"perSecond,omitempty"`
	// Absorbed is how many adds met a key that was queued already.
	Absorbed *int `json:"absorbed,omitempty"`
	// P50 and P99 are latencies in microseconds.
	P50 float64 `json:"p50,omitempty"`
	P99 float64 `json:"p99,omitempty"`
}

// operations maps each name to the function that measures it.
var operations = map[string]func(size) figure{
	"cycle":         cycle,
	"duplicate-add": duplicateAdd,
	"limiter":       limiter,
	"adds":          adds,
	"wake":          wake,
	"delay-insert":  delayInsert,
	"delay-bytes":   delayBytes,
}

func main() {
	if len(os.Args) < 2 {
		fail("the name of an operation is missing")
	}
	measure, known := operations[os.Args[1]]
	if !known {
		fail("%q is not an operation", os.Args[1])
	}
	var size size
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.IntVar(&size.keys, "keys", 100_000, "how many different keys there are")
	flags.IntVar(&size.n, "n", 1_000_000, "how many operations are measured")
	flags.IntVar(&size.producers, "producers", 1, "goroutines that add")
	flags.IntVar(&size.consumers, "consumers", 1, "goroutines that get")
	_ = flags.Parse(os.Args[2:]) // Ends the program itself where it fails.
	if flags.NArg() > 0 {
		fail("%q is not expected", flags.Arg(0))
	}
	if size.keys < 1 || size.n < 1 || size.producers < 1 || size.consumers < 1 {
		fail("every size must be at least 1")
	}
	if err := json.NewEncoder(os.Stdout).Encode(measure(size)); err != nil {
		fail("cannot write the figure: %v", err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "client-go: "+format+"\n", arguments...)
	os.Exit(2)
}
