package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

// deltaRequest is what "delta" applies: manifest and patch of a delta as "bundle" gave them, to the manifest of a snapshot.
// Its modules and data are those of the request.
type deltaRequest struct {
	BaseManifest string `json:"baseManifest"`
	Manifest     string `json:"manifest"`
	Patch        string `json:"patch"`
}

// bundleName is what the one bundle is called in the store.
const bundleName = "policy"

// applyDelta has OPA activate the snapshot and then the delta, and gives the data that results.
func applyDelta(ctx context.Context, req request) response {
	if req.Delta == nil {
		return failed(problem{Code: "bundle_invalid", Message: "no delta is given"})
	}
	modules, problems := parseModules(req.Modules, ast.CapabilitiesForThisVersion())
	data, dataProblems := mergeDocuments(req.Data)
	problems = append(problems, dataProblems...)
	if len(problems) > 0 {
		return failed(problems...)
	}
	base := &bundle.Bundle{Modules: moduleFiles(modules, req.Modules), Data: data}
	delta := &bundle.Bundle{}
	err := errors.Join(
		util.UnmarshalJSON([]byte(req.Delta.BaseManifest), &base.Manifest),
		util.UnmarshalJSON([]byte(req.Delta.Manifest), &delta.Manifest),
		util.UnmarshalJSON([]byte(req.Delta.Patch), &delta.Patch.Data),
	)
	if err != nil {
		return failed(bundleProblem(err))
	}
	base.Manifest.Init()
	delta.Manifest.Init()
	result, err := activate(ctx, base, delta)
	if err != nil {
		return failed(bundleProblem(err))
	}
	text, err := json.Marshal(result)
	if err != nil {
		return failed(bundleProblem(err))
	}
	return response{OK: true, Data: string(text)}
}

// activate gives the data after the bundles were activated one after the other, less what OPA keeps of them there.
func activate(ctx context.Context, bundles ...*bundle.Bundle) (map[string]any, error) {
	store := inmem.New()
	compiler := ast.NewCompiler() // a delta is checked against the rules that are there
	for _, each := range bundles {
		err := storage.Txn(ctx, store, storage.WriteParams, func(txn storage.Transaction) error {
			return bundle.Activate(&bundle.ActivateOpts{
				Ctx:      ctx,
				Store:    store,
				Txn:      txn,
				TxnCtx:   storage.NewContext(),
				Compiler: compiler.WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn)),
				Metrics:  metrics.NoOp(),
				Bundles:  map[string]*bundle.Bundle{bundleName: each},
			})
		})
		if err != nil {
			return nil, err
		}
	}
	value, err := storage.ReadOne(ctx, store, storage.RootPath)
	if err != nil {
		return nil, err
	}
	document, isObject := value.(map[string]any)
	if !isObject {
		return nil, errors.New("the data is not an object")
	}
	system, _ := document["system"].(map[string]any)
	delete(system, "bundles")
	delete(system, "modules")
	if len(system) == 0 {
		delete(document, "system")
	}
	return document, nil
}
