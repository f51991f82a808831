// The informer that is measured. client-go's defaults but for what the flags say, and for the limit on requests a second,
// which a client of few requests would hardly meet anyway: there is none.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/features"
	"k8s.io/client-go/informers"
	v1 "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"watchkeeper.dev/benches/peers/client-go/internal/heap"
)

// options of one ingest.
type options struct {
	server, content  string
	streaming, strip bool
}

func ingestFlags(flags *flag.FlagSet) *options {
	options := &options{}
	flags.StringVar(&options.server, "server", "", "where the API server is")
	flags.StringVar(&options.content, "content", "protobuf", "what is asked for: json or protobuf")
	flags.BoolVar(&options.streaming, "streaming", false, "by a streaming list")
	flags.BoolVar(&options.strip, "strip", false, "drops managedFields before an object is cached")
	return options
}

// client asks for protobuf by itself; JSON is what it gets to read wherever a type has no protobuf, a custom resource's
// above all.
func (options *options) client() (kubernetes.Interface, error) {
	config := &rest.Config{Host: options.server, QPS: -1}
	switch options.content {
	case "protobuf":
	case "json":
		config.ContentType = "application/json"
	default:
		return nil, fmt.Errorf("%q is neither json nor protobuf", options.content)
	}
	return kubernetes.NewForConfig(config)
}

// setStreaming decides how lists are asked for, whatever the environment says.
func setStreaming(streaming bool) error {
	gates, settable := features.FeatureGates().(interface {
		Set(features.Feature, bool) error
	})
	if !settable {
		return fmt.Errorf("client-go's features cannot be set")
	}
	return gates.Set(features.WatchListClient, streaming)
}

// withoutManagedFields is the transform that most controllers of large clusters have.
func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// pods is an informer of all Pods, which isn't running yet.
func (options *options) pods() (v1.PodInformer, error) {
	if err := setStreaming(options.streaming); err != nil {
		return nil, err
	}
	client, err := options.client()
	if err != nil {
		return nil, err
	}
	pods := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods()
	if options.strip {
		if err := pods.Informer().SetTransform(withoutManagedFields); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

// ingest runs until stdin ends.
func ingest(options *options) error {
	started := time.Now()
	pods, err := options.pods()
	if err != nil {
		return err
	}
	informer := pods.Informer()
	var events atomic.Uint64
	count := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { events.Add(1) },
		UpdateFunc: func(any, any) { events.Add(1) },
		DeleteFunc: func(any) { events.Add(1) },
	}
	if _, err := informer.AddEventHandler(count); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go informer.RunWithContext(ctx)
	// WaitForCacheSync without its polling, which would round the time up.
	cache.WaitFor(ctx, "", informer.HasSyncedChecker())
	wall := time.Since(started).Seconds()

	return answer(func() (any, error) {
		figure, err := stand()
		if err != nil {
			return nil, err
		}
		figure.Wall, figure.Events = wall, events.Load()
		for _, object := range informer.GetStore().List() {
			figure.Objects++
			figure.Checksum += checksum(object.(*corev1.Pod))
		}
		figure.Heap = heap.Live()
		return figure, nil
	})
}

// answer says it at once, and again for each line on stdin until there are no more.
func answer(say func() (any, error)) error {
	out := json.NewEncoder(os.Stdout)
	next := func() error {
		said, err := say()
		if err != nil {
			return err
		}
		return out.Encode(said)
	}
	if err := next(); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := next(); err != nil {
			return err
		}
	}
	return lines.Err()
}
