// The cells of `readers`: what a writer and its readers get done side by side, all as goroutines.
package main

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/cache"
)

// replaces is how often everything is replaced, each time by new states.
const replaces = 5

// times are latencies; there is room for all from the start.
type times []time.Duration

func newTimes() times { return make(times, 0, 1<<20) }

func (t times) rows(figure figure, name string) {
	slices.Sort(t)
	at := func(share float64) float64 {
		return float64(t[int(share*float64(len(t)-1))]) / float64(time.Microsecond)
	}
	figure.Rows[name+" p50"], figure.Rows[name+" p99"], figure.Rows[name+" max"] = at(0.5), at(0.99), at(1)
}

func cells(o objects, length time.Duration, loads []string) figure {
	indexer, figure := o.filled(), newFigure()
	// Two states of each, which are written in turn.
	states := [2][]any{o.all(1), o.all(2)}
	written := make([]int, int(o))
	source := random(2)
	upsert := func() {
		number := source.below(int(o))
		written[number]++
		must(indexer.Update(states[written[number]%2][number]))
	}
	for _, load := range loads {
		cell(indexer, o, load, length, upsert, figure)
	}
	for number, writes := range written {
		object, exists, err := indexer.GetByKey(o.key(number))
		must(err)
		expected := o.version(0, number)
		if writes > 0 {
			expected = o.version(1+writes%2, number)
		}
		if !exists || versionOf(object) != uint64(expected) {
			fail("not everything was written")
		}
	}
	replacing(indexer, o, figure)
	return figure
}

func cell(indexer cache.Indexer, o objects, load string, length time.Duration, upsert func(), figure figure) {
	readers, read := 0, func(int) func() { return nil }
	if load != "none" {
		count, kind, _ := strings.Cut(load, "-")
		var err error
		readers, err = strconv.Atoi(count)
		must(err)
		read = reading(indexer, o, kind)
	}
	var stop atomic.Bool
	var reads atomic.Uint64
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(readers)
	for place := range readers {
		done.Go(func() {
			once := read(place)
			ready.Done()
			<-start
			for !stop.Load() {
				once()
				reads.Add(1)
			}
		})
	}
	ready.Wait()
	writes, took := newTimes(), time.Duration(0)
	runtime.GC()
	close(start)
	began := time.Now()
	for last := began; took < length; {
		upsert()
		now := time.Now()
		writes = append(writes, now.Sub(last))
		last = now
		took = now.Sub(began)
	}
	stop.Store(true)
	done.Wait()
	if (reads.Load() == 0) != (readers == 0) {
		fail("%s: nothing was read", load)
	}
	figure.Counted[load] = uint64(len(writes))
	figure.Rows[load+" writes"] = float64(len(writes)) / took.Seconds()
	if readers > 0 {
		figure.Rows[load+" reads"] = float64(reads.Load()) / took.Seconds()
	}
	writes.rows(figure, load)
}

// reading makes what a reader does over and over, which fails where it doesn't see what it must.
func reading(indexer cache.Indexer, o objects, kind string) func(place int) func() {
	keys, namespaces := make([]string, int(o)), o.namespaces()
	of, all := make([]uint64, len(namespaces)), uint64(0)
	for number := range keys {
		keys[number] = o.key(number)
		of[o.namespaceOf(number)] += uint64(len(nameOf(number)))
		all += uint64(len(nameOf(number)))
	}
	see := func(objects []any, expected uint64) {
		var seen uint64
		for _, object := range objects {
			seen += look(object)
		}
		if seen != expected {
			fail("a read saw %d, expected %d", seen, expected)
		}
	}
	return func(place int) func() {
		source := random(3 + place)
		switch kind {
		case "get":
			return func() {
				object, exists, err := indexer.GetByKey(keys[source.below(len(keys))])
				if !exists || err != nil || look(object) == 0 {
					fail("an object is missing")
				}
			}
		case "list":
			return func() {
				number := source.below(len(namespaces))
				see(byIndex(indexer, "namespace", namespaces[number]), of[number])
			}
		case "all":
			return func() { see(indexer.List(), all) }
		default:
			fail("%q is not a load", kind)
			panic("unreachable")
		}
	}
}

// replacing replaces everything while one reads.
func replacing(indexer cache.Indexer, o objects, figure figure) {
	var stop, running atomic.Bool
	var done sync.WaitGroup
	reads := newTimes()
	start := make(chan struct{})
	get := reading(indexer, o, "get")(0)
	done.Go(func() {
		<-start
		for !stop.Load() {
			counts := running.Load()
			began := time.Now()
			get()
			if counts {
				reads = append(reads, time.Since(began))
			}
		}
	})
	close(start)
	for generation := range replaces {
		all := o.all(3 + generation)
		running.Store(true)
		must(indexer.Replace(all, strconv.Itoa(o.version(3+generation, 0))))
		running.Store(false)
	}
	stop.Store(true)
	done.Wait()
	if len(reads) == 0 {
		fail("nothing was read while everything was replaced")
	}
	figure.Counted["replace"] = uint64(len(reads))
	reads.rows(figure, "replace")
}
