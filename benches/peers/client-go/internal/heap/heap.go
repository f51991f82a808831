// Package heap says how much of this process's memory is in use.
package heap

import "runtime"

// Live is the size of all reachable objects. Collected twice, since the first leaves what it swept lazily.
func Live() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
