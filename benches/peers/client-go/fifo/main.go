// Command fifo is client-go's side of the benchmark `fifo` of this workspace: push and pop of its queues of deltas.
//
// In: which queue, and a workload. Out: one JSON line on stdout, a [figure]. It takes one figure and ends, so that each
// starts with an empty heap. Pods are made shortly before they are pushed, outside of the figure; all runs on one thread but for the garbage collector, whose threads
// aren't counted.
//
//	fifo --queue real-fifo --keys 100000 --pending 1000 --updates 1 --turns 1000
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"watchkeeper.dev/benches/peers/client-go/internal/cputime"
)

// figure is what one run gives.
type figure struct {
	// Push and Pop are the CPU time of the thread, of one delta pushed.
	Push float64 `json:"push"`
	Pop  float64 `json:"pop"`
	// Popped is how many deltas the consumer was handed.
	Popped int `json:"popped"`
}

// fifo is a queue, and how its deltas are handed out: next pops once and says how many deltas that were.
type fifo struct {
	queue cache.Queue
	next  func() int
}

// newFifo makes a queue as client-go's informers do.
func newFifo(name string) fifo {
	var popped int
	single := func(object any, _ bool) error {
		deltas, isDeltas := object.(cache.Deltas)
		if !isDeltas {
			fail("popped a %T", object)
		}
		popped += len(deltas)
		return nil
	}
	batch := func(deltas []cache.Delta, _ bool) error {
		popped += len(deltas)
		return nil
	}
	count := func(pop func() error) func() int {
		return func() int {
			popped = 0
			if err := pop(); err != nil {
				fail("cannot pop: %v", err)
			}
			return popped
		}
	}
	switch name {
	case "delta-fifo":
		queue := cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{
			KnownObjects:          cache.NewStore(cache.MetaNamespaceKeyFunc),
			EmitDeltaTypeReplaced: true,
		})
		return fifo{queue, count(func() error { _, err := queue.Pop(single); return err })}
	case "real-fifo", "real-fifo-single":
		queue := cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{
			KeyFunction:           cache.MetaNamespaceKeyFunc,
			AtomicEvents:          true,
			UnlockWhileProcessing: true,
			EmitDeltaTypeBookmark: true,
		})
		if name == "real-fifo" {
			return fifo{queue, count(func() error { return queue.PopBatch(batch, single) })}
		}
		return fifo{queue, count(func() error { _, err := queue.Pop(single); return err })}
	default:
		fail("%q is not a queue", name)
		panic("unreachable")
	}
}

// update makes an object like the benchmark's own.
func update(number, version int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace:       fmt.Sprintf("namespace-%04d", number%100),
		Name:            fmt.Sprintf("deployment-7d4b9c6f5d-%012d", number),
		UID:             types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", number)),
		ResourceVersion: strconv.Itoa(version),
	}}
}

func main() {
	name := flag.String("queue", "real-fifo", "delta-fifo, real-fifo or real-fifo-single")
	keys := flag.Int("keys", 100_000, "how many different keys there are")
	pending := flag.Int("pending", 1_000, "keys pushed before anything is popped")
	updates := flag.Int("updates", 1, "how often each of them is pushed before")
	turns := flag.Int("turns", 1_000, "how often that is done")
	flag.Parse()
	if flag.NArg() > 0 {
		fail("%q is not expected", flag.Arg(0))
	}
	if *pending < 1 || *updates < 1 || *turns < 1 || *keys < 1 || *keys%*pending != 0 {
		fail("every size must be at least 1, and the keys a multiple of those pending")
	}
	if err := json.NewEncoder(os.Stdout).Encode(measure(newFifo(*name), *keys, *pending, *updates, *turns)); err != nil {
		fail("cannot write the figure: %v", err)
	}
}

// piece is how many objects are made at a time, shortly before they are pushed.
const piece = 100

// measure pushes so many objects and pops all, over and over.
func measure(fifo fifo, keys, pending, updates, turns int) figure {
	runtime.LockOSThread()
	var push, pop time.Duration
	popped, version, turn := 0, 0, pending*updates
	for number := range turns {
		first := number * pending % keys
		for place := 0; place < turn; place += piece {
			objects := make([]*corev1.Pod, 0, piece)
			for next := place; next < min(place+piece, turn); next++ {
				version++
				objects = append(objects, update(first+next%pending, version))
			}
			began := cputime.Thread()
			for _, object := range objects {
				if err := fifo.queue.Update(object); err != nil {
					fail("cannot push: %v", err)
				}
			}
			push += cputime.Thread() - began
		}
		began := cputime.Thread()
		for left := turn; left > 0; {
			handed := fifo.next()
			left -= handed
			popped += handed
		}
		pop += cputime.Thread() - began
	}
	deltas := float64(turn * turns)
	return figure{Push: float64(push) / deltas, Pop: float64(pop) / deltas, Popped: popped}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "client-go: "+format+"\n", arguments...)
	os.Exit(2)
}
