// The measures of delayed keys. AddAfter only sends the key to a goroutine that keeps the heap, so a measure ends when
// that goroutine has put everything there: a last key with the shortest delay follows the others through the same
// channel, and is due when its turn comes. Once Get gives it, all the others are in the heap, but for those that were
// due meanwhile (their delays are few milliseconds), which Get gives before it.
package main

import (
	"runtime"
	"time"

	"k8s.io/client-go/util/workqueue"

	"watchkeeper.dev/benches/peers/client-go/internal/heap"

	"watchkeeper.dev/benches/peers/client-go/internal/cputime"
)

const last = "the last key"

// insert delays every key and returns when all are in the heap; of those that came due, how many.
func insert(queue workqueue.TypedDelayingInterface[string], keys []string) (due int) {
	delays := newDelays()
	for _, key := range keys {
		queue.AddAfter(key, delays.next())
	}
	queue.AddAfter(last, time.Nanosecond)
	for {
		item, _ := queue.Get()
		queue.Done(item)
		if item == last {
			return due
		}
		due++
	}
}

// delayInsert: the CPU time of the process a key, since most of the work is that of the queue's goroutine.
func delayInsert(size size) figure {
	keys := makeKeys(size.n)
	queue := workqueue.NewTypedDelayingQueue[string]()
	runtime.GC()
	before := cputime.Process()
	insert(queue, keys)
	return figure{Nanos: cputime.Each(cputime.Process()-before, size.n)}
}

// delayBytes: the live heap a delayed key, without the keys themselves, which are there before.
func delayBytes(size size) figure {
	keys := makeKeys(size.n)
	queue := workqueue.NewTypedDelayingQueue[string]()
	before := heap.Live()
	due := insert(queue, keys)
	after := heap.Live()
	runtime.KeepAlive(keys)
	runtime.KeepAlive(queue)
	return figure{Bytes: (float64(after) - float64(before)) / float64(size.n-due)}
}
