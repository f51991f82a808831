// The measures of many goroutines at one queue.
package main

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// adds: producers add, each its own part of the keys, and consumers do nothing but Done. In as many passes as n needs:
// a pass adds each key once and ends when everything is drained, so no add is absorbed by an earlier one, however far
// the consumers are behind. By the clock on the wall, from the start of each pass to its end.
func adds(size size) figure {
	keys := makeKeys(size.keys)
	var took time.Duration
	made, served := 0, 0
	for made < size.n {
		passTook, passServed := pass(keys[:min(len(keys), size.n-made)], size.producers, size.consumers)
		took += passTook
		served += passServed
		made += min(len(keys), size.n-made)
	}
	return figure{PerSecond: float64(made) / took.Seconds(), Absorbed: new(made - served)}
}

// pass sends each key through a queue once, and says how many the consumers got.
func pass(keys []string, producing, consuming int) (time.Duration, int) {
	queue := workqueue.NewTyped[string]()
	var producers, consumers sync.WaitGroup
	var served atomic.Int64
	runtime.GC() // The queue of the pass before isn't collected in this one's time.
	start := time.Now()
	for range consuming {
		consumers.Go(func() {
			count := 0
			for {
				item, over := queue.Get()
				if over {
					break
				}
				queue.Done(item)
				count++
			}
			served.Add(int64(count))
		})
	}
	for first := range producing {
		producers.Go(func() {
			for number := first; number < len(keys); number += producing {
				queue.Add(keys[number])
			}
		})
	}
	producers.Wait()
	queue.ShutDown()
	consumers.Wait()
	return time.Since(start), int(served.Load())
}

// wake: from an add to the return of Get in one of several idle consumers. The producer adds one key each
// millisecond, by a ticker.
func wake(size size) figure {
	keys := makeKeys(size.n) // One for each add, so that its number finds the add's time.
	queue := workqueue.NewTyped[string]()
	added := make([]time.Time, len(keys))
	took := make([]time.Duration, len(keys))
	var consumers sync.WaitGroup
	for range size.consumers {
		consumers.Go(func() {
			for {
				item, over := queue.Get()
				now := time.Now()
				if over {
					return
				}
				number := numberOf(item)
				took[number] = now.Sub(added[number])
				queue.Done(item)
			}
		})
	}
	ticker := time.NewTicker(time.Millisecond)
	time.Sleep(100 * time.Millisecond) // The consumers are idle.
	for number, key := range keys {
		<-ticker.C
		added[number] = time.Now()
		queue.Add(key)
	}
	queue.ShutDown()
	consumers.Wait()
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))]) / float64(time.Microsecond)
	}
	return figure{P50: at(0.50), P99: at(0.99)}
}

// numberOf reads a key's number from its last twelve digits.
func numberOf(key string) int {
	number, err := strconv.Atoi(key[len(key)-12:])
	if err != nil {
		fail("%q is no key of this benchmark", key)
	}
	return number
}
