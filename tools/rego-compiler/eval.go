package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

// eval gives the value of one entrypoint as OPA itself evaluates it, without the network.
func eval(ctx context.Context, req request) response {
	caps := ast.CapabilitiesForThisVersion()
	caps.AllowNet = []string{}
	modules, problems := parseModules(req.Modules, caps)
	data, dataProblems := mergeDocuments(req.Data)
	refs, refProblems := parseEntrypoints(req.Entrypoints)
	problems = append(append(problems, dataProblems...), refProblems...)
	if len(problems) > 0 {
		return failed(problems...)
	}
	recorded, err := recordedAnswers(req.Nd)
	if err != nil {
		return failed(problem{Code: "nd_invalid", Message: err.Error()})
	}
	compiler := newCompiler(caps, data, false).WithEnablePrintStatements(true)
	compiler.Compile(modules)
	if compiler.Failed() {
		return failed(fromErrors(compiler.Errors)...)
	}
	var input any
	if err := util.UnmarshalJSON([]byte(req.Input), &input); err != nil {
		return failed(problem{Code: "input_invalid", Message: err.Error()})
	}
	var printed printLines
	results, err := rego.New(
		rego.Compiler(compiler),
		rego.Capabilities(caps),
		rego.Store(inmem.NewFromObject(data)),
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(refs[0])))),
		rego.Input(input),
		rego.Time(time.Unix(0, req.NowNs)),
		rego.NDBuiltinCache(recorded),
		rego.PrintHook(&printed),
	).Eval(ctx)
	if err != nil {
		return failed(fromError(err)...)
	}
	if len(results) == 0 {
		return response{OK: true, Printed: printed}
	}
	text, err := json.Marshal(results[0].Expressions[0].Value)
	if err != nil {
		return failed(fromError(err)...)
	}
	return response{OK: true, Value: string(text), Printed: printed}
}
