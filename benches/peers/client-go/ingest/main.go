// Command ingest is client-go's side of the benchmarks `ingest`, `relist` and `latency` of this workspace.
//
// In: the name of an operation, and its flags. `ingest` runs a shared informer of Pods and prints a line of JSON, a
// [figure], once it is synced, and another for each line on stdin. `latency` does the same with a work queue and a worker
// behind it, and prints what was [seen]. `render` reads a list of Pods as JSON from stdin and writes what a server sends of
// it as protobuf. It is a program apart from the one that measures the queue, so that the
// API's types are no part of that one's heap.
//
//	ingest ingest --server http://127.0.0.1:8001 --content protobuf --streaming
//	ingest latency --server http://127.0.0.1:8001 --content json --streaming
//	ingest render --to FOLDER <pods.json
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail("the name of an operation is missing: ingest, latency or render")
	}
	operation, flags := os.Args[1], flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var run func() error
	switch operation {
	case "ingest":
		options := ingestFlags(flags)
		run = func() error { return ingest(options) }
	case "latency":
		options := ingestFlags(flags)
		run = func() error { return latency(options) }
	case "render":
		folder := flags.String("to", ".", "the folder that the files go to")
		modified := flags.Bool("modified", false, "the events that the Pods have changed, and nothing else")
		run = func() error { return render(os.Stdin, *folder, *modified) }
	default:
		fail("%q is not an operation", operation)
	}
	_ = flags.Parse(os.Args[2:]) // Ends the program itself where it fails.
	if flags.NArg() > 0 {
		fail("%q is not expected", flags.Arg(0))
	}
	if err := run(); err != nil {
		fail("%s: %v", operation, err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "client-go: "+format+"\n", arguments...)
	os.Exit(2)
}
