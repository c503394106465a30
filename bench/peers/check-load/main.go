// Sends check requests over gRPC, or GET requests over HTTP/1.1, with a fixed number in flight, and measures. Each line on
// standard input is a round to drive, each line on standard output what came of it. Connections are kept for the next
// round to the same address. It reads no more of its protocols than it must, so as not to be what is measured.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

type round struct {
	Protocol string `json:"protocol"`
	// Address is HOST:PORT or unix:PATH.
	Address string `json:"address"`
	// Messages are sent in turn. In each, all runs of the text `0000000` become a number that no other message has.
	Messages  [][]byte `json:"messages"`
	InFlight  int      `json:"inFlight"`
	ForMillis int      `json:"forMs"`
	// TLS, with HTTP alone, is what the client shows. PEM.
	TLS *identity `json:"tls"`
}

type identity struct {
	Chain string `json:"chain"`
	Key   string `json:"key"`
}

type outcome struct {
	Failure   string  `json:"failure,omitempty"`
	PerSecond float64 `json:"perSecond"`
	Count     int     `json:"count"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	P999      float64 `json:"p999Ms"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var r round
		if err := json.Unmarshal(line, &r); err != nil {
			panic(err)
		}
		result, err := drive(r)
		if err != nil {
			result = outcome{Failure: err.Error()}
		}
		if err := out.Encode(result); err != nil {
			panic(err)
		}
	}
}

// Where not one request was answered in time, as on a busy machine with a short round, the round is made longer.
const longestRound = 20 * time.Second

func drive(r round) (outcome, error) {
	for length := time.Duration(r.ForMillis) * time.Millisecond; ; length *= 4 {
		result, err := driveFor(r, length)
		if err != nil || result.Count > 0 {
			return result, err
		}
		if length > longestRound {
			return outcome{}, fmt.Errorf("no request was answered in %s", length)
		}
	}
}

func driveFor(r round, length time.Duration) (outcome, error) {
	latencies := make([]time.Duration, 0, 1<<18)
	begin := time.Now()
	end := begin.Add(length)
	var err error
	switch r.Protocol {
	case "grpc":
		latencies, err = driveGRPC(r, end, latencies)
	case "http":
		latencies, err = driveHTTP(r, end, latencies)
	default:
		err = fmt.Errorf("no protocol %q", r.Protocol)
	}
	if err != nil || len(latencies) == 0 {
		return outcome{}, err
	}
	seconds := time.Since(begin).Seconds()
	slices.Sort(latencies)
	return outcome{
		PerSecond: float64(len(latencies)) / seconds,
		Count:     len(latencies),
		P50:       percentile(latencies, 0.5),
		P99:       percentile(latencies, 0.99),
		P999:      percentile(latencies, 0.999),
	}, nil
}

// percentile is by nearest rank, in milliseconds.
func percentile(sorted []time.Duration, share float64) float64 {
	rank := max(1, int(share*float64(len(sorted))+0.999999))
	return float64(sorted[rank-1]) / float64(time.Millisecond)
}
