// The rows of `store`: CPU time of the one thread that works, of one operation.
package main

import (
	"runtime"
	"strconv"
	"time"

	"k8s.io/client-go/tools/cache"
	"watchkeeper.dev/benches/peers/client-go/internal/heap"

	"watchkeeper.dev/benches/peers/client-go/internal/cputime"
)

const (
	passes    = 5
	snapshots = 10
	// piece is how many objects are made at a time, shortly before they are written.
	piece = 100
)

// The generations of objects; 0 is what the store is filled with.
const (
	warm     = 1
	same     = 2
	moved    = 3
	batched  = 4
	replaced = 5 // The first of so many as the benchmark `readers` replaces.
)

// timed is the CPU time of this thread.
func timed(run func()) time.Duration {
	began := cputime.Thread()
	run()
	return cputime.Thread() - began
}

func byIndex(indexer cache.Indexer, index, value string) []any {
	found, err := indexer.ByIndex(index, value)
	must(err)
	return found
}

func rows(o objects) figure {
	runtime.LockOSThread()
	indexer, figure := o.filled(), newFigure()
	read(indexer, o, figure)
	write(indexer, o, figure)
	return figure
}

func read(indexer cache.Indexer, o objects, figure figure) {
	keys := make([]string, 0, int(o))
	for _, number := range shuffled(int(o)) {
		keys = append(keys, o.key(number))
	}
	namespaces, nodes := o.namespaces(), o.nodes()
	runtime.GC() // What making all that left behind isn't collected in the operations' time.
	// measure runs all passes of a row of n operations each, and adds up what each says it saw.
	measure := func(row string, n int, pass func() uint64) {
		var sum uint64
		took := timed(func() {
			for range passes {
				sum += pass()
			}
		})
		figure.Rows[row], figure.Counted[row] = cputime.Each(took, n*passes), sum
	}
	measure("get", len(keys), func() (found uint64) {
		for _, key := range keys {
			if _, exists, err := indexer.GetByKey(key); exists && err == nil {
				found++
			}
		}
		return found
	})
	measure("get-look", len(keys), func() (sum uint64) {
		for _, key := range keys {
			if object, exists, err := indexer.GetByKey(key); exists && err == nil {
				sum += look(object)
			}
		}
		return sum
	})
	measure("list-1000", len(namespaces), func() (listed uint64) {
		for _, namespace := range namespaces {
			listed += uint64(len(byIndex(indexer, "namespace", namespace)))
		}
		return listed
	})
	lookAt := func(index string, values []string) func() uint64 {
		return func() (sum uint64) {
			for _, value := range values {
				for _, object := range byIndex(indexer, index, value) {
					sum += look(object)
				}
			}
			return sum
		}
	}
	measure("visit-1000", len(namespaces), lookAt("namespace", namespaces))
	measure("visit-30", len(nodes), lookAt("node", nodes))
	measure("walk", int(o), func() (sum uint64) {
		for _, object := range indexer.List() {
			sum += look(object)
		}
		return sum
	})
	kept := make([][]any, 0, snapshots)
	took := timed(func() {
		for range snapshots {
			kept = append(kept, indexer.List())
		}
	})
	figure.Rows["snapshot"] = cputime.Each(took, snapshots)
	runtime.KeepAlive(kept)
}

func write(indexer cache.Indexer, o objects, figure figure) {
	order := shuffled(int(o))
	versions := func() (sum uint64) {
		for _, object := range indexer.List() {
			sum += versionOf(object)
		}
		return sum
	}
	upserts := func(row string, generation, moved int) {
		var took time.Duration
		runtime.GC()
		for first := 0; first < len(order); first += piece {
			pods := make([]any, 0, piece)
			for rank := first; rank < min(first+piece, len(order)); rank++ {
				pod := o.pod(generation, order[rank], moved)
				pod.ResourceVersion = strconv.Itoa(o.version(generation, rank))
				pods = append(pods, pod)
			}
			took += timed(func() {
				for _, pod := range pods {
					must(indexer.Update(pod))
				}
			})
		}
		figure.Rows[row], figure.Counted[row] = cputime.Each(took, len(order)), versions()
	}
	upserts("warm", warm, 0) // What comes after finds memory that was in use before.
	upserts("upsert-same", same, 0)
	upserts("upsert-moved", moved, 1)
	for _, node := range o.nodes() {
		for _, object := range byIndex(indexer, "node", node) {
			figure.Counted["on-nodes"] += versionOf(object)
		}
	}
	upserts("upsert-batch", batched, 1) // It has no batches.
	var took time.Duration
	for generation := replaced; generation < replaced+replaces; generation++ {
		all := o.all(generation)
		runtime.GC()
		took += timed(func() { must(indexer.Replace(all, strconv.Itoa(o.version(generation, 0)))) })
		figure.Counted["replace"] += versions()
	}
	figure.Rows["replace"] = cputime.Each(took, int(o)*replaces)
}

// bytes is what the store needs for each object beside the object: the live heap with it, less that of the bare objects.
func bytes(o objects) figure {
	start := heap.Live()
	bare := o.all(0)
	vector := uint64(cap(bare)) * 16
	ofObjects := heap.Live() - start - vector
	runtime.KeepAlive(bare)
	bare = nil
	start = heap.Live()
	indexer := o.filled()
	live := heap.Live() - start
	runtime.KeepAlive(indexer)
	figure := newFigure()
	figure.Rows["bytes"] = (float64(live) - float64(ofObjects)) / float64(o)
	return figure
}
