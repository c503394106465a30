// An ext_authz server on OPA's own evaluator that follows the documented contract of opa-envoy-plugin: what svidgate is
// measured and compared against. It does no more for a request than the contract asks: no decision log, no metrics.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// defaultPolicy answers requests that name none.
const defaultPolicy = "default"

type options struct {
	listen     string
	entrypoint string
	// policies are NAME=FOLDER or NAME=FOLDER,ENTRYPOINT; a name can be left out.
	policies       []string
	protoSet       string
	maxBytes       int
	readsFastStore bool
	// endsWithInput: when the parent has ended, which may be by a crash.
	endsWithInput bool
}

func main() {
	if err := run(readOptions()); err != nil {
		fmt.Fprintf(os.Stderr, "opa-ext-authz: %v\n", err)
		os.Exit(1)
	}
}

func readOptions() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:9191", "HOST:PORT or unix:PATH")
	flag.StringVar(&o.entrypoint, "entrypoint", "envoy/authz/allow", "rule or package that decides")
	flag.Func("policy", "[NAME=]FOLDER[,ENTRYPOINT], again for more; asked for by context_extensions[\"svidgate.policy\"]",
		func(text string) error {
			o.policies = append(o.policies, text)
			return nil
		})
	flag.StringVar(&o.protoSet, "proto-descriptor", "", "FileDescriptorSet for gRPC bodies")
	flag.IntVar(&o.maxBytes, "max-receive-bytes", 4<<20, "largest message")
	flag.BoolVar(&o.readsFastStore, "optimize-store-for-read-speed", false, "as OPA's flag of this name")
	flag.BoolVar(&o.endsWithInput, "end-with-input", false, "end when standard input does")
	flag.Parse()
	return o
}

func run(o options) error {
	server := &authorization{policies: map[string]*policy{}}
	for _, text := range o.policies {
		name, folder, entrypoint := splitPolicy(text, o.entrypoint)
		loaded, err := loadPolicy(folder, entrypoint, o.readsFastStore)
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		server.policies[name] = loaded
	}
	if len(server.policies) == 0 {
		return errors.New("no --policy")
	}
	if o.protoSet != "" {
		var err error
		if server.files, err = readDescriptors(o.protoSet); err != nil {
			return err
		}
	}
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	gate := grpc.NewServer(grpc.MaxRecvMsgSize(o.maxBytes))
	authv3.RegisterAuthorizationServer(gate, server)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		gate.Stop()
	}()
	if o.endsWithInput {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"address": listener.Addr().String()}); err != nil {
		return err
	}
	return gate.Serve(listener)
}

func splitPolicy(text, entrypoint string) (name, folder, path string) {
	name, folder, found := strings.Cut(text, "=")
	if !found {
		name, folder = defaultPolicy, text
	}
	if before, after, found := strings.Cut(folder, ","); found {
		return name, before, after
	}
	return name, folder, entrypoint
}

func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return net.Listen("tcp", address)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

type authorization struct {
	authv3.UnimplementedAuthorizationServer
	policies map[string]*policy
	// files describe the services whose gRPC bodies are read; nil when there are none.
	files *protoregistry.Files
}
