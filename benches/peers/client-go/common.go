// What all measures need: the keys and the delays. Both are those of the benchmark's own
// side (keys.rs), number by number.
package main

import (
	"fmt"
	"time"
)

// makeKeys gives the keys that are numbered from 0, each about 50 bytes, as a Deployment's keys are.
func makeKeys(count int) []string {
	keys := make([]string, count)
	for number := range keys {
		keys[number] = fmt.Sprintf("namespace-%04d/deployment-7d4b9c6f5d-%012d", number%100, number)
	}
	return keys
}

// tenMinutes is what the delays are spread over.
const tenMinutes = 10 * time.Minute

// delays is a stream of delays, uniform over ten minutes: the generator SplitMix64, started at 1.
type delays struct{ state uint64 }

func newDelays() *delays { return &delays{state: 1} }

func (d *delays) next() time.Duration {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	z ^= z >> 31
	return time.Duration(z % uint64(tenMinutes))
}
