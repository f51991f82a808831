// The whole way of an object in one process: a watch that is handed decoded objects, a shared informer with its queue, its
// store with three indexes and its handler, a work queue, and workers that look the object up.
package main

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"watchkeeper.dev/benches/peers/client-go/internal/cputime"
)

// source lists once and watches what it is given.
type source struct {
	list  *corev1.PodList
	watch *watch.FakeWatcher
}

func (s *source) List(metav1.ListOptions) (apiruntime.Object, error) { return s.list, nil }

func (s *source) Watch(metav1.ListOptions) (watch.Interface, error) { return s.watch, nil }

// IsWatchListSemanticsUnSupported says that it sends no initial events.
func (s *source) IsWatchListSemanticsUnSupported() bool { return true }

const (
	// inWatch is how many events the watch holds, as one that decodes ahead does.
	inWatch  = 100
	patience = 2 * time.Minute
)

// tally is what was done in a phase.
type tally struct {
	queue                          workqueue.TypedInterface[string]
	told, served, settled, working atomic.Int64
	// last is the version of each object that has yet to be seen by a worker; 0: none.
	last  []atomic.Uint64
	began time.Time
	used  time.Duration
}

func (t *tally) tell(object any) {
	t.told.Add(1)
	key, err := cache.MetaNamespaceKeyFunc(object)
	must(err)
	t.queue.Add(key)
}

func (t *tally) work(indexer cache.Indexer) {
	for {
		key, over := t.queue.Get()
		if over {
			return
		}
		t.working.Add(1)
		object, exists, err := indexer.GetByKey(key)
		if !exists || err != nil {
			fail("%s is not cached", key)
		}
		number, err := strconv.Atoi(key[len(key)-12:])
		must(err)
		if t.last[number].CompareAndSwap(versionOf(object), 0) {
			t.settled.Add(1)
		}
		t.served.Add(1)
		t.queue.Done(key)
		t.working.Add(-1)
	}
}

func (t *tally) start() {
	t.told.Store(0)
	t.served.Store(0)
	t.settled.Store(0)
	t.began, t.used = time.Now(), cputime.Process()
}

// end waits until all events were told and each of the keys was seen as it is now, and nothing is left to do.
func (t *tally) end(figure figure, phase string, events, keys int) {
	isOver := func() bool {
		return t.told.Load() == int64(events) && t.settled.Load() == int64(keys) && t.queue.Len() == 0 && t.working.Load() == 0
	}
	for !isOver() {
		if time.Since(t.began) > patience {
			fail("%s: %d of %d events told, %d of %d keys seen", phase, t.told.Load(), events, t.settled.Load(), keys)
		}
		time.Sleep(time.Millisecond)
	}
	figure.Rows[phase+" events"] = float64(events) / time.Since(t.began).Seconds()
	figure.Rows[phase+" cpu"] = cputime.Each(cputime.Process()-t.used, events)
	figure.Counted[phase+" told"] = uint64(t.told.Load())
	figure.Counted[phase+" seen"] = uint64(t.settled.Load())
	figure.Rows[phase+" absorbed"] = float64(t.told.Load() - t.served.Load())
}

func pipeline(o objects, updates, workers int) figure {
	from := &source{list: &corev1.PodList{}, watch: watch.NewFakeWithChanSize(inWatch, false)}
	from.list.ResourceVersion = strconv.Itoa(o.version(1, 0) - 1)
	tally := &tally{queue: workqueue.NewTyped[string](), last: make([]atomic.Uint64, int(o))}
	for number, pod := range o.all(0) {
		from.list.Items = append(from.list.Items, *pod.(*corev1.Pod))
		tally.last[number].Store(versionOf(pod))
	}
	options := cache.SharedIndexInformerOptions{Indexers: indexers()}
	informer := cache.NewSharedIndexInformerWithOptions(from, &corev1.Pod{}, options)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    tally.tell,
		UpdateFunc: func(_, object any) { tally.tell(object) },
	})
	must(err)
	var working, running sync.WaitGroup
	for range workers {
		working.Go(func() { tally.work(informer.GetIndexer()) })
	}
	ctx, stop := context.WithCancel(context.Background())
	figure := newFigure()
	runtime.GC()
	tally.start()
	running.Go(func() { informer.RunWithContext(ctx) })
	tally.end(figure, "initial", int(o), int(o))

	handed, order := make([]*corev1.Pod, updates), shuffled(int(o))
	for place := range handed {
		number := order[place%len(order)]
		// In the order of their versions, as a watch sends them.
		handed[place] = o.pod(0, number, 0)
		handed[place].ResourceVersion = strconv.Itoa(o.version(1, place))
		tally.last[number].Store(versionOf(handed[place]))
	}
	runtime.GC()
	tally.start()
	for place, pod := range handed {
		handed[place] = nil
		from.watch.Modify(pod)
	}
	tally.end(figure, "update", updates, min(updates, int(o)))
	tally.queue.ShutDown()
	working.Wait()
	stop()
	running.Wait()
	return figure
}
