// One binary with a Kubernetes control plane in it, for tests: the first argument chooses the component, the rest
// are that component's own arguments.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics, as in the upstream programs
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version metric, likewise
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var commands = map[string]func(arguments []string) int{
	"etcd": func(arguments []string) int {
		etcdmain.Main(append([]string{"etcd"}, arguments...))
		return 0
	},
	"kube-apiserver": func(arguments []string) int {
		return run(apiserver.NewAPIServerCommand(), arguments)
	},
	"kube-controller-manager": func(arguments []string) int {
		return run(controllermanager.NewControllerManagerCommand(), arguments)
	},
	"kube-scheduler": func(arguments []string) int {
		return run(scheduler.NewSchedulerCommand(), arguments)
	},
}

func main() {
	if len(os.Args) < 2 {
		usage("no component named")
	}
	command, known := commands[os.Args[1]]
	if !known {
		usage(fmt.Sprintf("unknown component %q", os.Args[1]))
	}
	arguments := os.Args[2:]
	// etcd and cobra both look at os.Args in places of their own: show them what a stand-alone program would see.
	os.Args = append([]string{os.Args[1]}, arguments...)
	os.Exit(command(arguments))
}

func run(command *cobra.Command, arguments []string) int {
	command.SetArgs(arguments)
	return cli.Run(command)
}

func usage(problem string) {
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "controlplane: %s\nusage: controlplane {%s} [ARGUMENT...]\n", problem, strings.Join(names, "|"))
	os.Exit(2)
}
