// Command http-send evaluates Rego expressions with OPA itself, network included: what svidgate's http.send is compared
// with.
//
// It reads one question as JSON from each line of standard input and writes one answer as JSON to each line of standard
// output. What http.send keeps from one query to the next is kept for the life of the program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

type question struct {
	Expression string `json:"expression"`
}

type answer struct {
	// Kind is "value", "undefined" or "error".
	Kind  string `json:"kind"`
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

func main() {
	kept := cache.NewInterQueryCache(nil)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := out.Encode(evaluate(asked, kept)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func evaluate(asked question, kept cache.InterQueryCache) answer {
	results, err := rego.New(
		rego.Query(asked.Expression),
		rego.InterQueryBuiltinCache(kept),
		rego.StrictBuiltinErrors(true),
	).Eval(context.Background())
	if err != nil {
		return answer{Kind: "error", Error: err.Error()}
	}
	if len(results) == 0 {
		return answer{Kind: "undefined"}
	}
	return answer{Kind: "value", Value: results[0].Expressions[0].Value}
}
