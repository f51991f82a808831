// The Pods, number by number those of the benchmark's own side (objects.rs): only the fields that are used are set.
package main

import (
	"fmt"
	"math/bits"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// objects is how many there are, which decides where each is.
type objects int

const (
	namespaceCount = 100
	firstVersion   = 1_000_000_000
)

func (o objects) namespaceOf(number int) int { return number * min(namespaceCount, int(o)) / int(o) }

func (o objects) namespaces() []string {
	names := make([]string, o.namespaceOf(int(o)-1)+1)
	for place := range names {
		names[place] = fmt.Sprintf("namespace-%04d", place)
	}
	return names
}

func (o objects) nodes() []string {
	names := make([]string, max(int(o)/30, 1))
	for place := range names {
		names[place] = fmt.Sprintf("node-%05d", place)
	}
	return names
}

func nameOf(number int) string { return fmt.Sprintf("deployment-7d4b9c6f5d-%012d", number) }

func (o objects) key(number int) string {
	return fmt.Sprintf("namespace-%04d/%s", o.namespaceOf(number), nameOf(number))
}

func (o objects) version(generation, number int) int {
	return firstVersion + generation*int(o) + number
}

// pod is an object of a generation; moved is 1 where it is on the next node.
func (o objects) pod(generation, number, moved int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       fmt.Sprintf("namespace-%04d", o.namespaceOf(number)),
			Name:            nameOf(number),
			UID:             types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", number)),
			ResourceVersion: strconv.Itoa(o.version(generation, number)),
			Labels:          map[string]string{"app": fmt.Sprintf("app-%05d", number%max(int(o)/10, 1))},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%05d", (number+moved)%max(int(o)/30, 1))},
	}
}

func (o objects) all(generation int) []any {
	pods := make([]any, int(o))
	for number := range pods {
		pods[number] = o.pod(generation, number, 0)
	}
	return pods
}

func versionOf(object any) uint64 {
	version, err := strconv.ParseUint(object.(*corev1.Pod).ResourceVersion, 10, 64)
	if err != nil {
		fail("a Pod without a version: %v", err)
	}
	return version
}

// look looks at an object: how long its name is.
func look(object any) uint64 { return uint64(len(object.(*corev1.Pod).Name)) }

// indexers are the three indexes.
func indexers() cache.Indexers {
	return cache.Indexers{
		"namespace": cache.MetaNamespaceIndexFunc,
		"node":      func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Spec.NodeName}, nil },
		"app":       func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Labels["app"]}, nil },
	}
}

// filled is an indexer with all objects in it.
func (o objects) filled() cache.Indexer {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers())
	must(indexer.Replace(o.all(0), strconv.Itoa(o.version(0, 0))))
	return indexer
}

// random is the generator SplitMix64.
type random uint64

func (r *random) below(limit int) int {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	z ^= z >> 31
	high, _ := bits.Mul64(z, uint64(limit))
	return int(high)
}

// shuffled are all numbers below count, the same way in each run.
func shuffled(count int) []int {
	numbers := make([]int, count)
	for number := range numbers {
		numbers[number] = number
	}
	source := random(1)
	for place := count - 1; place > 0; place-- {
		other := source.below(place + 1)
		numbers[place], numbers[other] = numbers[other], numbers[place]
	}
	return numbers
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}
