package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

type policy struct {
	query rego.PreparedEvalQuery
	store storage.Store
	cache cache.InterQueryCache
}

// loadPolicy compiles a folder's Rego and data, and prepares the query of the entrypoint once for all requests.
func loadPolicy(folder, entrypoint string, readsFast bool) (*policy, error) {
	ctx := context.Background()
	isPolicy := func(path string, info os.FileInfo, _ int) bool {
		return strings.HasSuffix(path, "_test.rego") && !info.IsDir()
	}
	loaded, err := loader.NewFileLoader().WithRegoVersion(ast.RegoV1).Filtered([]string{folder}, isPolicy)
	if err != nil {
		return nil, err
	}
	compiler, err := loaded.Compiler()
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObjectWithOpts(loaded.Documents, inmem.OptReturnASTValuesOnRead(readsFast))
	query, err := rego.New(
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(dataRef(entrypoint))))),
		rego.Compiler(compiler),
		rego.Store(store),
		rego.EnablePrintStatements(true),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	config, err := cache.ParseCachingConfig(nil)
	if err != nil {
		return nil, err
	}
	return &policy{query: query, store: store, cache: cache.NewInterQueryCache(config)}, nil
}

func dataRef(entrypoint string) ast.Ref {
	ref := ast.Ref{ast.DefaultRootDocument}
	for _, part := range strings.Split(strings.Trim(entrypoint, "/"), "/") {
		if index, err := strconv.Atoi(part); err == nil {
			ref = append(ref, ast.IntNumberTerm(index))
		} else {
			ref = append(ref, ast.StringTerm(part))
		}
	}
	return ref
}

// decide gives the entrypoint's value as JSON values.
func (p *policy) decide(ctx context.Context, input ast.Value) (any, error) {
	transaction, err := p.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer p.store.Abort(ctx, transaction)
	results, err := p.query.Eval(
		ctx,
		rego.EvalParsedInput(input),
		rego.EvalTransaction(transaction),
		rego.EvalInterQueryBuiltinCache(p.cache),
	)
	switch {
	case err != nil:
		return nil, err
	case len(results) == 0:
		return nil, errors.New("undefined decision")
	case len(results) > 1:
		return nil, errors.New("multiple evaluation results")
	}
	return results[0].Expressions[0].Value, nil
}
