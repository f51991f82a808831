// Command elector stands in an election with client-go's leaderelection, as many controllers in Go do.
//
// In: a kubeconfig, the name of a Lease, an identity, the timings. Out: one JSON line on stdout for each thing that happens,
// with the boot clock: it starts leading, acts while it leads, has stopped acting, stops leading, sees a new leader.
// SIGTERM ends it in the order that releases properly: the work first, then the election. It ends when it loses the Lease.
//
//	elector --kubeconfig FILE --namespace default --name shared --identity go-0 --release-on-cancel
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// line is one thing that happened.
type line struct {
	What string `json:"what"`
	// BootNanos is CLOCK_BOOTTIME: comparable between the processes of one machine.
	BootNanos int64  `json:"boot_nanos"`
	Identity  string `json:"identity"`
	// Leader is who leads, of a new leader only.
	Leader string `json:"leader,omitempty"`
}

// options are the flags.
type options struct {
	kubeconfig, namespace, name, identity     string
	leaseDuration, renewDeadline, retryPeriod time.Duration
	releaseOnCancel                           bool
	actEvery                                  time.Duration
}

func main() {
	var options options
	flag.StringVar(&options.kubeconfig, "kubeconfig", "", "the way to the server")
	flag.StringVar(&options.namespace, "namespace", "default", "the Lease's namespace")
	flag.StringVar(&options.name, "name", "", "the Lease's name")
	flag.StringVar(&options.identity, "identity", "", "who stands")
	flag.DurationVar(&options.leaseDuration, "lease-duration", 15*time.Second, "how long others wait")
	flag.DurationVar(&options.renewDeadline, "renew-deadline", 10*time.Second, "how long a leader tries to renew")
	flag.DurationVar(&options.retryPeriod, "retry-period", 2*time.Second, "time between tries")
	flag.BoolVar(&options.releaseOnCancel, "release-on-cancel", false, "release the Lease at a clean end")
	flag.DurationVar(&options.actEvery, "act-every", 0, "time between two acts while leading; 0 is never")
	flag.Parse()
	if err := run(options); err != nil {
		fmt.Fprintf(os.Stderr, "elector: %v\n", err)
		os.Exit(2)
	}
}

func run(options options) error {
	if options.kubeconfig == "" || options.name == "" || options.identity == "" {
		return errors.New("--kubeconfig, --name and --identity are needed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", options.kubeconfig)
	if err != nil {
		return err
	}
	// What client-go's own NewFromKubeconfig sets: a request must not take the whole time that is left to renew.
	config.Timeout = max(time.Second, options.renewDeadline/2)
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return err
	}
	voice := &voice{identity: options.identity}
	work := newWork(voice, options.actEvery)
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: options.namespace, Name: options.name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: options.identity},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   options.leaseDuration,
		RenewDeadline:   options.renewDeadline,
		RetryPeriod:     options.retryPeriod,
		ReleaseOnCancel: options.releaseOnCancel,
		Name:            options.name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: work.run,
			OnStoppedLeading: func() { voice.say(line{What: "stopped-leading"}) },
			OnNewLeader:      func(leader string) { voice.say(line{What: "new-leader", Leader: leader}) },
		},
	})
	if err != nil {
		return err
	}
	election, endElection := context.WithCancel(context.Background())
	defer endElection()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		work.end()
		endElection()
	}()
	elector.Run(election)
	work.end()
	return nil
}

// voice writes lines, one write(2) each, so that a killed process leaves whole ones.
type voice struct {
	identity string
	turn     sync.Mutex
}

func (v *voice) say(said line) {
	v.turn.Lock()
	defer v.turn.Unlock()
	said.BootNanos, said.Identity = bootNanos(), v.identity
	text, err := json.Marshal(said)
	if err == nil {
		_, err = os.Stdout.Write(append(text, '\n'))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "elector: the lines have gaps: %v\n", err)
	}
}

// work is what is done while leading.
type work struct {
	voice    *voice
	actEvery time.Duration
	// wanted ends when no more work may begin, busy is held while there is some.
	wanted context.Context
	stop   context.CancelFunc
	busy   sync.Mutex
}

func newWork(voice *voice, actEvery time.Duration) *work {
	wanted, stop := context.WithCancel(context.Background())
	return &work{voice: voice, actEvery: actEvery, wanted: wanted, stop: stop}
}

// run acts until the Lease is lost (leading ends) or no work is wanted any more.
func (w *work) run(leading context.Context) {
	w.busy.Lock()
	defer w.busy.Unlock()
	if w.wanted.Err() != nil {
		return
	}
	w.voice.say(line{What: "started-leading"})
	defer w.voice.say(line{What: "stopped-acting"})
	var acts <-chan time.Time
	if w.actEvery > 0 {
		ticker := time.NewTicker(w.actEvery)
		defer ticker.Stop()
		acts = ticker.C
	}
	for leading.Err() == nil && w.wanted.Err() == nil {
		select {
		case <-leading.Done():
		case <-w.wanted.Done():
		case <-acts:
			w.voice.say(line{What: "act"})
		}
	}
}

// end returns when the work has ended, and none begins after it.
func (w *work) end() {
	w.stop()
	w.busy.Lock()
	defer w.busy.Unlock()
}

func bootNanos() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		fmt.Fprintf(os.Stderr, "elector: no boot clock: %v\n", err)
		os.Exit(2)
	}
	return now.Nano()
}
