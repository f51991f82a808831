// When updates are seen: by a shared informer's handler, and by a worker behind a work queue, as a controller has them.
package main

import (
	"context"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// sentAnnotation holds the moment of sending; zeros, which isn't counted, in what was not sent yet.
const sentAnnotation = "bench.watchkeeper.test/sent-ns"

// sighting is when an update was sent and when it was seen, by the clock that all processes share.
type sighting struct {
	Sent uint64 `json:"sent"`
	Seen uint64 `json:"seen"`
}

// seen is one line of the answer.
type seen struct {
	// Handler is when the event handler was called.
	Handler []sighting `json:"handler"`
	// Worker is when a worker had taken the key from the queue and had looked the object up.
	Worker []sighting `json:"worker"`
}

// lookout collects what is seen in one place.
type lookout struct {
	lock      sync.Mutex
	sightings []sighting
}

// see: a Pod is seen now.
func (lookout *lookout) see(pod *corev1.Pod) {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		fail("cannot read the clock: %v", err)
	}
	sent, err := strconv.ParseUint(pod.Annotations[sentAnnotation], 10, 64)
	if err != nil || sent == 0 {
		return
	}
	lookout.lock.Lock()
	defer lookout.lock.Unlock()
	lookout.sightings = append(lookout.sightings, sighting{sent, uint64(at.Nano())})
}

func (lookout *lookout) soFar() []sighting {
	lookout.lock.Lock()
	defer lookout.lock.Unlock()
	return append([]sighting{}, lookout.sightings...)
}

// latency runs until stdin ends.
func latency(options *options) error {
	pods, err := options.pods()
	if err != nil {
		return err
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	var handler, worker lookout
	told := func(object any) {
		pod := object.(*corev1.Pod)
		handler.see(pod)
		if key, err := cache.MetaNamespaceKeyFunc(pod); err == nil {
			queue.Add(key)
		}
	}
	_, err = pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    told,
		UpdateFunc: func(_, object any) { told(object) },
	})
	if err != nil {
		return err
	}
	lister := pods.Lister()
	go func() {
		for {
			key, over := queue.Get()
			if over {
				return
			}
			if namespace, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
				if pod, err := lister.Pods(namespace).Get(name); err == nil {
					worker.see(pod)
				}
			}
			queue.Forget(key)
			queue.Done(key)
		}
	}()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go pods.Informer().RunWithContext(ctx)
	cache.WaitFor(ctx, "", pods.Informer().HasSyncedChecker())
	return answer(func() (any, error) { return seen{handler.soFar(), worker.soFar()}, nil })
}
