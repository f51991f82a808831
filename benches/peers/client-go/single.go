// The measures of one thread: CPU time of operations that nobody else contends for.
package main

import (
	"runtime"
	"time"

	"k8s.io/client-go/util/workqueue"

	"watchkeeper.dev/benches/peers/client-go/internal/cputime"
)

// timed is the CPU time that n operations take, of the thread they run on and of the process.
func timed(n int, run func()) figure {
	runtime.GC() // What making the keys left behind isn't collected in the operations' time.
	runtime.LockOSThread()
	process, thread := cputime.Process(), cputime.Thread()
	run()
	threadTook := cputime.Thread() - thread
	return figure{Nanos: cputime.Each(threadTook, n), ProcessNanos: cputime.Each(cputime.Process()-process, n)}
}

// cycle: a key goes through an empty queue: add, get, done.
func cycle(size size) figure {
	keys := makeKeys(size.keys)
	queue := workqueue.NewTyped[string]()
	return timed(size.n, func() {
		next := 0
		for range size.n {
			queue.Add(keys[next])
			item, _ := queue.Get()
			queue.Done(item)
			if next++; next == len(keys) {
				next = 0
			}
		}
	})
}

// duplicateAdd: all keys are queued, and are added again.
func duplicateAdd(size size) figure {
	keys := makeKeys(size.keys)
	queue := workqueue.NewTyped[string]()
	for _, key := range keys {
		queue.Add(key)
	}
	return timed(size.n, func() {
		next := 0
		for range size.n {
			queue.Add(keys[next])
			if next++; next == len(keys) {
				next = 0
			}
		}
	})
}

// limiter: a key fails once and is forgotten; the limiter is the one per key of client-go's default for controllers.
func limiter(size size) figure {
	keys := makeKeys(size.keys)
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](5*time.Millisecond, 1000*time.Second)
	return timed(size.n, func() {
		next := 0
		for range size.n {
			limiter.When(keys[next])
			limiter.Forget(keys[next])
			if next++; next == len(keys) {
				next = 0
			}
		}
	})
}
