// Package cputime reads the CPU clocks.
package cputime

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Thread is the CPU time of this thread, to be asked by a goroutine that is locked to it.
func Thread() time.Duration { return read(unix.CLOCK_THREAD_CPUTIME_ID) }

// Process is the CPU time of all threads, those of the garbage collector included.
func Process() time.Duration { return read(unix.CLOCK_PROCESS_CPUTIME_ID) }

// Each is what one of n took, in nanoseconds.
func Each(took time.Duration, n int) float64 { return float64(took) / float64(n) }

func read(clock int32) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(clock, &at); err != nil {
		fmt.Fprintf(os.Stderr, "client-go: cannot read the CPU time: %v\n", err)
		os.Exit(2)
	}
	return time.Duration(at.Nano())
}
