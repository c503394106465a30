// An agent that is not svidgate: a Workload API on grpc-go, with certificates of crypto/x509 and tokens of go-jose, whose answers have
// the shape of spire-agent's. It does not attest its callers: all of them get all of its entries.
//
// Usage: agent SOCKET FOLDER TTL. The CA and the token key are in FOLDER and outlive the agent; ca.pem there is for those who verify.
// Each line on standard input is a JSON list of the SPIFFE IDs that it gives from then on; the end of standard input ends it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: agent SOCKET FOLDER TTL")
	}
	ttl, err := time.ParseDuration(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	keys, err := openKeys(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	identities := newIdentities(keys, ttl)
	// A killed agent leaves its socket.
	if err := os.Remove(os.Args[1]); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, &endpoint{identities: identities, keys: keys})
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()
	go identities.rotate()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var ids []string
		if err := json.Unmarshal(lines.Bytes(), &ids); err != nil {
			log.Fatal(err)
		}
		if err := identities.set(ids); err != nil {
			log.Fatal(err)
		}
		fmt.Println("{}")
	}
	server.Stop()
}
