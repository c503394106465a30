// Command rego-compiler is OPA's compiler and test runner as one program without files, network or arguments.
//
// It reads one request as JSON from standard input and writes one response as JSON to standard output. It is built
// for WASI (GOOS=wasip1 GOARCH=wasm) and run by svidgate in a worker thread, which also bounds its time and memory.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// request is one job. Which fields are read depends on Op.
type request struct {
	// Op is "build", "bundle", "delta", "test", "eval", "check", "pack" or "explain".
	Op string `json:"op"`
	// Modules holds Rego sources by file name.
	Modules map[string]string `json:"modules"`
	// Data holds the text of data documents by file name; each is mounted at the path of its folder.
	Data map[string]string `json:"data"`
	// Entrypoints are slash paths such as envoy/authz/allow.
	Entrypoints []string `json:"entrypoints"`
	// Builtins are the names of the builtins that a module may call.
	Builtins []string `json:"builtins"`
	// Withheld says, for builtins that are left out on purpose, why.
	Withheld map[string]string `json:"withheld"`
	// Redirected are those of Builtins that the module asks its host for, as "host." and the name, though it could
	// answer them itself.
	Redirected []string `json:"redirected"`
	// Input is the JSON text of the input of "eval", and NowNs the time of its evaluation.
	Input string `json:"input"`
	NowNs int64  `json:"nowNs,string"`
	// Nd are answers of an earlier evaluation: see recordedAnswers.
	Nd map[string]map[string]string `json:"nd"`
	// Coverage asks "test" which lines the tests evaluate; Run is a pattern of the tests to run, of package and name.
	Coverage bool   `json:"coverage"`
	Run      string `json:"run"`
	// Schema is the JSON schema of the input, as text, for "check".
	Schema string `json:"schema"`
	// Pack is what "pack" makes a bundle of, beside the files.
	Pack packRequest `json:"pack"`
	// Masked are JSON pointers below the input of "explain" whose values are not the real ones.
	Masked []string `json:"masked"`
	// Bundle is what "bundle" reads, Delta what "delta" applies.
	Bundle *bundleRequest `json:"bundle"`
	Delta  *deltaRequest  `json:"delta"`
	// Queries are evaluated by "partial" as far as they do not depend on Unknowns, which are references; input by default.
	Queries  []string `json:"queries"`
	Unknowns []string `json:"unknowns"`
}

// response is either OK with the result of the operation, or not OK with every error that was found.
type response struct {
	OK     bool      `json:"ok"`
	Errors []problem `json:"errors,omitempty"`

	// Wasm is the compiled module, in base64 in JSON.
	Wasm []byte `json:"wasm,omitempty"`
	// Data is the JSON text of the merged data documents: a string, so that no reader rounds its numbers.
	Data             string    `json:"data,omitempty"`
	Warnings         []problem `json:"warnings,omitempty"`
	RequiredBuiltins []string  `json:"requiredBuiltins,omitempty"`
	// Unusable names entrypoints that compile and can give no decision.
	Unusable []problem `json:"unusable,omitempty"`
	// Reads are the parts of the input that the policy can look at; null stands for all of it.
	Reads [][]any `json:"reads"`

	Tests []testResult `json:"tests,omitempty"`

	// Value is the JSON text of what "eval" gave; empty when undefined.
	Value string `json:"value,omitempty"`
	// Printed are the lines of print().
	Printed []string `json:"printed,omitempty"`

	Coverage []fileCoverage `json:"coverage,omitempty"`
	Findings []finding      `json:"findings,omitempty"`
	Literals []literal      `json:"literals,omitempty"`
	// Packed is a bundle as tar.gz, in base64 in JSON.
	Packed      []byte       `json:"packed,omitempty"`
	Explanation *explanation `json:"explanation,omitempty"`

	// Bundle is what "bundle" gave.
	Bundle *bundleContent `json:"bundle,omitempty"`

	// Residuals are what "partial" left of each query, Constants what the policy names.
	Residuals []residual     `json:"residuals,omitempty"`
	Constants []residualTerm `json:"constants,omitempty"`
	// Conflicts are the rules below Entrypoints that may have two values at once, Deciding the entrypoints' own.
	Conflicts []problem `json:"conflicts,omitempty"`
	Deciding  []problem `json:"deciding,omitempty"`
}

// problem is one mistake and its place. Line and Column count from 1 and are 0 where no place is known.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	bytes, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	var req request
	if err := json.Unmarshal(bytes, &req); err != nil {
		return fmt.Errorf("the request is not JSON: %w", err)
	}
	return json.NewEncoder(out).Encode(handle(context.Background(), req))
}

// handle runs the operation. A panic of the compiler becomes an error like any other: it depends on the policy.
func handle(ctx context.Context, req request) (res response) {
	defer func() {
		if cause := recover(); cause != nil {
			res = failed(problem{Code: "compiler_panic", Message: fmt.Sprintf("the Rego compiler failed: %v", cause)})
		}
	}()
	switch req.Op {
	case "build":
		return build(ctx, req)
	case "bundle":
		return readBundle(ctx, req)
	case "delta":
		return applyDelta(ctx, req)
	case "test":
		return test(ctx, req)
	case "eval":
		return eval(ctx, req)
	case "check":
		return check(ctx, req)
	case "pack":
		return pack(ctx, req)
	case "explain":
		return explain(ctx, req)
	case "partial":
		return partial(ctx, req)
	default:
		return failed(problem{Code: "unknown_op", Message: fmt.Sprintf("unknown operation %q", req.Op)})
	}
}

func failed(problems ...problem) response {
	return response{Errors: problems}
}
