package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

// testResult is the outcome of one test rule.
type testResult struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	// Outcome is "pass", "fail", "error" or "skip".
	Outcome string `json:"outcome"`
	// Error is set for the outcome "error".
	Error      string  `json:"error,omitempty"`
	File       string  `json:"file"`
	Line       int     `json:"line"`
	Column     int     `json:"column"`
	DurationMs float64 `json:"durationMs"`
	// FailedCases names the cases that failed, of a test that has several: test_x[name].
	FailedCases []string `json:"failedCases,omitempty"`
	// Output is what print() wrote.
	Output string `json:"output,omitempty"`
}

// test runs every test rule with OPA's own runner. Tests may call all of OPA's builtins.
func test(ctx context.Context, req request) response {
	modules, problems := parseModules(req.Modules, ast.CapabilitiesForThisVersion())
	data, dataProblems := mergeDocuments(req.Data)
	problems = append(problems, dataProblems...)
	if len(problems) > 0 {
		return failed(problems...)
	}
	compiler := ast.NewCompiler().
		WithEnablePrintStatements(true).
		WithDefaultRegoVersion(ast.RegoV1).
		SetErrorLimit(0)
	store := inmem.NewFromObject(data)
	res := response{OK: true}
	covered := cover.New()
	err := storage.Txn(ctx, store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		runner := tester.NewRunner().
			SetCompiler(compiler).
			SetStore(store).
			SetModules(modules).
			SetParallel(1).
			Filter(req.Run)
		if req.Coverage {
			runner.SetCoverageQueryTracer(covered)
		}
		results, err := runner.RunTests(ctx, txn)
		if err != nil {
			return err
		}
		for result := range results {
			res.Tests = append(res.Tests, fromResult(result))
		}
		return nil
	})
	if err != nil {
		return failed(fromError(err)...)
	}
	if req.Coverage {
		res.Coverage = coverageOf(covered, modules)
	}
	slices.SortFunc(res.Tests, func(a, b testResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	return res
}

func fromResult(result *tester.Result) testResult {
	found := testResult{
		Package:    result.Package,
		Name:       result.Name,
		DurationMs: float64(result.Duration.Microseconds()) / 1000,
		Output:     string(result.Output),
	}
	switch {
	case result.Error != nil:
		found.Outcome, found.Error = "error", result.Error.Error()
	case result.Skip:
		found.Outcome = "skip"
	case result.Pass():
		found.Outcome = "pass"
	default:
		found.Outcome = "fail"
	}
	for name, sub := range result.SubResults.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			found.FailedCases = append(found.FailedCases, strings.Join(name, "/"))
		}
	}
	if result.Location != nil {
		found.File, found.Line, found.Column = result.Location.File, result.Location.Row, result.Location.Col
	}
	return found
}
