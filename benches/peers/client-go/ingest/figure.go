// How the informer stands: what it has cached, and what that has cost this process. Field by field what the benchmark's
// own clients say (figure.rs).
package main

import (
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// figure is one line of the answer.
type figure struct {
	// Objects cached.
	Objects int `json:"objects"`
	// Checksum over fields of all of them.
	Checksum uint64 `json:"checksum"`
	// Wall is the time until it was synced.
	Wall float64 `json:"wall_s"`
	// User and System are the CPU times of the process since its start, the garbage collector's included.
	User   float64 `json:"user_cpu_s"`
	System float64 `json:"system_cpu_s"`
	// Resident is memory as it is, PeakResident as it was at most.
	Resident     uint64 `json:"rss_kb"`
	PeakResident uint64 `json:"peak_rss_kb"`
	// Heap is what is left after a collection, which is no part of the figures above.
	Heap uint64 `json:"heap_bytes"`
	// Events that the handler was told.
	Events uint64 `json:"events"`
}

// stand reads the CPU times and the memory, before anything else is done for a figure.
func stand() (figure, error) {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return figure{}, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return figure{}, err
	}
	resident, err := kilobytes(string(status), "VmRSS:")
	if err != nil {
		return figure{}, err
	}
	peak, err := kilobytes(string(status), "VmHWM:")
	return figure{
		User: seconds(used.Utime), System: seconds(used.Stime), Resident: resident, PeakResident: peak,
	}, err
}

func seconds(value unix.Timeval) float64 { return time.Duration(value.Nano()).Seconds() }

func kilobytes(status, name string) (uint64, error) {
	for line := range strings.Lines(status) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.ParseUint(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", name)
}

// checksum is FNV-1a over the fields of one Pod, a zero byte behind each. Those of all Pods are added up.
func checksum(pod *corev1.Pod) uint64 {
	sum := fnv.New64a()
	fields := []string{pod.Namespace, pod.Name, string(pod.UID), pod.ResourceVersion, pod.Spec.NodeName, pod.Status.PodIP}
	for _, field := range fields {
		_, _ = sum.Write(append([]byte(field), 0)) // Never fails.
	}
	return sum.Sum64()
}
