package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
)

// build checks the modules and data and compiles the entrypoints to one WASM module.
func build(ctx context.Context, req request) response {
	caps := offeredCapabilities(req.Builtins)
	modules, problems := parseModules(req.Modules, caps)
	data, dataProblems := mergeDocuments(req.Data)
	problems = append(problems, dataProblems...)
	if len(problems) > 0 {
		return failed(problems...)
	}

	compileAll := func(strict bool) (*ast.Compiler, map[place]bool, map[string]alias) {
		compiler := newCompiler(caps, data, strict)
		calls, aliases := findCalls(compiler, req.Redirected), findAliases(compiler)
		compiler.Compile(copyModules(modules))
		return compiler, calls, aliases
	}
	// What strict mode dislikes (unused imports and variables, deprecated calls) still compiles.
	compiler, calls, aliases := compileAll(true)
	warnings := fromErrors(compiler.Errors)
	if compiler.Failed() {
		compiler, calls, aliases = compileAll(false)
	}
	problems = fromErrors(compiler.Errors)
	explainBuiltins(problems, req.Withheld)
	refs, refProblems := parseEntrypoints(req.Entrypoints)
	problems = append(problems, refProblems...)
	if len(problems) == 0 {
		problems = missingEntrypoints(compiler, refs, req.Entrypoints)
	}
	if len(problems) > 0 {
		return failed(problems...)
	}

	// A policy among others is what it would be alone: what another one of the folder reads or calls is not its own.
	if used := reachableModules(compiler, refs); len(used) < len(modules) {
		maps.DeleteFunc(modules, func(name string, _ *ast.Module) bool { return !used[name] })
		compiler, calls, aliases = compileAll(false)
		if compiler.Failed() {
			return failed(fromErrors(compiler.Errors)...)
		}
	}

	redirectCalls(modules, calls)
	linked := &bundle.Bundle{Modules: moduleFiles(modules, req.Modules), Data: data}
	linked.SetRegoVersion(ast.RegoV1)
	linked.Manifest.Init()
	linker := compile.New().
		WithTarget(compile.TargetWasm).
		WithCapabilities(withRedirected(caps, req.Redirected)).
		WithRegoVersion(ast.RegoV1).
		WithBundle(linked).
		WithEntrypoints(req.Entrypoints...)
	if err := linker.Build(ctx); err != nil {
		return failed(fromError(err)...)
	}
	text, err := json.Marshal(data)
	if err != nil {
		return failed(fromError(err)...)
	}
	return response{
		OK:               true,
		Wasm:             linker.Bundle().WasmModules[0].Raw,
		Data:             string(text),
		Reads:            readsOf(compiler, aliases, refs),
		RequiredBuiltins: namedBuiltins(compiler, caps),
		Unusable:         unusableResults(compiler, refs, req.Entrypoints),
		Warnings:         warnings,
	}
}

// namedBuiltins are in the order of their names. The compiler itself knows of those that are called; one that `with` puts
// in the place of another function is called, too.
func namedBuiltins(compiler *ast.Compiler, caps *ast.Capabilities) []string {
	var names []string
	for _, builtin := range compiler.Required.Builtins {
		names = append(names, builtin.Name)
	}
	for _, module := range compiler.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			name := ref.String()
			if slices.ContainsFunc(caps.Builtins, func(builtin *ast.Builtin) bool { return builtin.Name == name }) {
				names = append(names, name)
			}
			return false
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parseModules parses every module, so that a mistake in one does not hide those of another.
func parseModules(sources map[string]string, caps *ast.Capabilities) (map[string]*ast.Module, []problem) {
	modules := make(map[string]*ast.Module, len(sources))
	var problems []problem
	for _, name := range sortedKeys(sources) {
		module, err := ast.ParseModuleWithOpts(name, sources[name], ast.ParserOptions{
			Capabilities:      caps,
			ProcessAnnotation: true,
			RegoVersion:       ast.RegoV1,
		})
		if err != nil {
			problems = append(problems, fromError(err)...)
			continue
		}
		modules[name] = module
	}
	return modules, problems
}

func newCompiler(caps *ast.Capabilities, data map[string]any, strict bool) *ast.Compiler {
	return ast.NewCompiler().
		WithCapabilities(caps).
		WithStrict(strict).
		WithDefaultRegoVersion(ast.RegoV1).
		SetErrorLimit(0).
		WithPathConflictsCheck(func(path []string) (bool, error) { return documentAt(data, path), nil })
}

// copyModules gives the compiler modules that it may change.
func copyModules(modules map[string]*ast.Module) map[string]*ast.Module {
	copies := make(map[string]*ast.Module, len(modules))
	for name, module := range modules {
		copies[name] = module.Copy()
	}
	return copies
}

func moduleFiles(modules map[string]*ast.Module, sources map[string]string) []bundle.ModuleFile {
	var files []bundle.ModuleFile
	for _, name := range sortedKeys(modules) {
		files = append(files, bundle.ModuleFile{
			URL: name, Path: name, Parsed: modules[name], Raw: []byte(sources[name]),
		})
	}
	return files
}

func sortedKeys[V any](values map[string]V) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func parseEntrypoints(entrypoints []string) ([]ast.Ref, []problem) {
	var refs []ast.Ref
	var problems []problem
	if len(entrypoints) == 0 {
		problems = append(problems, problem{Code: "entrypoint", Message: "an entrypoint is needed"})
	}
	for _, entrypoint := range entrypoints {
		ref, err := dataRef(entrypoint)
		if err != nil {
			problems = append(problems, problem{Code: "entrypoint", Message: err.Error()})
			continue
		}
		refs = append(refs, ref)
	}
	return refs, problems
}

func missingEntrypoints(compiler *ast.Compiler, refs []ast.Ref, entrypoints []string) []problem {
	var problems []problem
	for i, ref := range refs {
		if len(compiler.GetRules(ref)) == 0 {
			problems = append(problems, problem{
				Code:    "entrypoint",
				Message: fmt.Sprintf("the entrypoint %s names no rule of the policy", entrypoints[i]),
			})
		}
	}
	return problems
}
