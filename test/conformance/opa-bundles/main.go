// Builds, signs and reads bundles with OPA's own packages: one JSON object a line in, one out.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/keys"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

type question struct {
	// Op is "build", "delta", "sign", "read" or "eval".
	Op string `json:"op"`

	// Of "build": as `opa build -b` has them, the files of the folder.
	Files       map[string][]byte `json:"files"`
	Target      string            `json:"target"`
	Entrypoints []string          `json:"entrypoints"`
	Optimize    int               `json:"optimize"`
	Revision    string            `json:"revision"`
	RegoVersion *int              `json:"regoVersion"`

	// Of "delta": the operations and the manifest.
	Patch    json.RawMessage `json:"patch"`
	Manifest json.RawMessage `json:"manifest"`

	// Of "build" and "sign", which makes a token for Listed.
	Signing *signing          `json:"signing"`
	Listed  []bundle.FileInfo `json:"listed"`
	Claims  map[string]any    `json:"claims"`

	// Of "read" and "eval": bundles that are activated one after the other, and how they are verified.
	Bundles      [][]byte        `json:"bundles"`
	Verification *verification   `json:"verification"`
	Query        string          `json:"query"`
	Input        json.RawMessage `json:"input"`
}

type signing struct {
	Key       string         `json:"key"`
	Algorithm string         `json:"algorithm"`
	KeyID     string         `json:"keyId"`
	Claims    map[string]any `json:"claims"`
}

type verification struct {
	Keys    map[string]*keys.Config `json:"keys"`
	KeyID   string                  `json:"keyId"`
	Scope   string                  `json:"scope"`
	Exclude []string                `json:"exclude"`
}

type answer struct {
	Refused string `json:"refused,omitempty"`
	Bundle  []byte `json:"bundle,omitempty"`
	Token   string `json:"token,omitempty"`
	// Data is JSON text of the documents after the last bundle.
	Data     string `json:"data,omitempty"`
	Revision string `json:"revision,omitempty"`
	Value    any    `json:"value"`
}

// scratch is where claims are written to, which OPA wants in a file.
var scratch string

func main() {
	var err error
	if scratch, err = os.MkdirTemp("", "opa-bundles"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		a, err := answerTo(context.Background(), q)
		if err != nil {
			a = answer{Refused: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
}

func answerTo(ctx context.Context, q question) (a answer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	switch q.Op {
	case "build":
		return build(ctx, q)
	case "delta":
		return delta(q)
	case "sign":
		return sign(q)
	default:
		return activate(ctx, q)
	}
}

func build(ctx context.Context, q question) (answer, error) {
	files := fstest.MapFS{}
	for name, content := range q.Files {
		files["policy/"+name] = &fstest.MapFile{Data: content}
	}
	var out bytes.Buffer
	compiler := compile.New().
		WithFS(files).
		WithPaths("policy").
		WithAsBundle(true).
		WithTarget(q.Target).
		WithEntrypoints(q.Entrypoints...).
		WithOptimizationLevel(q.Optimize).
		WithRevision(q.Revision).
		WithOutput(&out)
	if q.RegoVersion != nil {
		compiler = compiler.WithRegoVersion(ast.RegoVersionFromInt(*q.RegoVersion))
	} else {
		compiler = compiler.WithRegoVersion(ast.RegoV1)
	}
	if q.Signing != nil {
		config, err := q.Signing.config()
		if err != nil {
			return answer{}, err
		}
		compiler = compiler.WithBundleSigningConfig(config).WithBundleVerificationKeyID(q.Signing.KeyID)
	}
	if err := compiler.Build(ctx); err != nil {
		return answer{}, err
	}
	return answer{Bundle: out.Bytes()}, nil
}

func (s *signing) config() (*bundle.SigningConfig, error) {
	if s.Claims == nil {
		return bundle.NewSigningConfig(s.Key, s.Algorithm, ""), nil
	}
	file, err := os.CreateTemp(scratch, "claims")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := json.NewEncoder(file).Encode(s.Claims); err != nil {
		return nil, err
	}
	return bundle.NewSigningConfig(s.Key, s.Algorithm, file.Name()), nil
}

func sign(q question) (answer, error) {
	config, err := q.Signing.config()
	if err != nil {
		return answer{}, err
	}
	token, err := bundle.GenerateSignedToken(q.Listed, config, q.Signing.KeyID)
	return answer{Token: token}, err
}

func delta(q question) (answer, error) {
	var made bundle.Bundle
	if err := util.UnmarshalJSON(q.Patch, &made.Patch); err != nil {
		return answer{}, err
	}
	if err := util.UnmarshalJSON(q.Manifest, &made.Manifest); err != nil {
		return answer{}, err
	}
	var out bytes.Buffer
	err := bundle.NewWriter(&out).Write(made)
	return answer{Bundle: out.Bytes()}, err
}

// activate reads and activates as OPA's bundle plugin does.
func activate(ctx context.Context, q question) (answer, error) {
	var config *bundle.VerificationConfig
	if v := q.Verification; v != nil {
		config = bundle.NewVerificationConfig(v.Keys, v.KeyID, v.Scope, v.Exclude)
		if err := config.ValidateAndInjectDefaults(v.Keys); err != nil {
			return answer{}, err
		}
	}
	store := inmem.New()
	compiler := ast.NewCompiler()
	var last bundle.Bundle
	for _, each := range q.Bundles {
		loader := bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(each), "")
		read, err := bundle.NewCustomReader(loader).
			WithBundleVerificationConfig(config).
			WithLazyLoadingMode(false).
			WithRegoVersion(ast.RegoV1).
			Read()
		if err != nil {
			return answer{}, err
		}
		err = storage.Txn(ctx, store, storage.WriteParams, func(txn storage.Transaction) error {
			if read.Type() == bundle.SnapshotBundleType {
				compiler = ast.NewCompiler()
			}
			compiler = compiler.WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
			return bundle.Activate(&bundle.ActivateOpts{
				Ctx: ctx, Store: store, Txn: txn, TxnCtx: storage.NewContext(), Compiler: compiler, Metrics: metrics.NoOp(),
				Bundles: map[string]*bundle.Bundle{"b": &read},
			})
		})
		if err != nil {
			return answer{}, err
		}
		last = read
	}
	a := answer{Revision: last.Manifest.Revision}
	value, err := storage.ReadOne(ctx, store, storage.RootPath)
	if err != nil {
		return answer{}, err
	}
	document := value.(map[string]any)
	delete(document, "system")
	text, err := json.Marshal(document)
	if err != nil {
		return answer{}, err
	}
	a.Data = string(text)
	if q.Op == "eval" {
		a.Value, err = evaluate(ctx, q, store, compiler)
	}
	return a, err
}

func evaluate(ctx context.Context, q question, store storage.Store, compiler *ast.Compiler) (any, error) {
	var input any
	if err := util.UnmarshalJSON(q.Input, &input); err != nil {
		return nil, err
	}
	results, err := rego.New(rego.Query(q.Query), rego.Input(input), rego.Store(store), rego.Compiler(compiler)).Eval(ctx)
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return results[0].Expressions[0].Value, nil
}
