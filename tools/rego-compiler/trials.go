package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/util"
)

// trials evaluates one policy on one input, again and again with something changed.
type trials struct {
	ctx     context.Context
	req     request
	caps    *ast.Capabilities
	modules map[string]*ast.Module
	data    map[string]any
	store   storage.Store
	input   any
	nd      builtins.NDBCache
	target  ast.Ref
	clauses []*clause
	known   map[string]bool
	// hidden are rules that are left out for speed: see focus.
	hidden map[*ast.Rule]int
	// base is how the evaluation went with nothing changed.
	base     *tracer
	count    int
	began    time.Time
	original *ast.Compiler
}

func newTrials(ctx context.Context, req request) (*trials, []problem) {
	caps := offeredCapabilities(req.Builtins)
	modules, problems := parseModules(req.Modules, caps)
	data, dataProblems := mergeDocuments(req.Data)
	refs, refProblems := parseEntrypoints(req.Entrypoints)
	problems = append(append(problems, dataProblems...), refProblems...)
	if len(problems) > 0 {
		return nil, problems
	}
	var input any
	if err := util.UnmarshalJSON([]byte(req.Input), &input); err != nil {
		return nil, []problem{{Code: "input_invalid", Message: err.Error()}}
	}
	nd, err := recordedAnswers(req.Nd)
	if err != nil {
		return nil, []problem{{Code: "nd_invalid", Message: err.Error()}}
	}
	t := &trials{
		ctx: ctx, req: req, caps: caps, modules: modules, data: data, store: inmem.NewFromObject(data), input: input, nd: nd,
		target: refs[0], known: map[string]bool{}, hidden: map[*ast.Rule]int{}, began: time.Now(),
	}
	for _, file := range sortedKeys(modules) {
		module := modules[file]
		for index, rule := range module.Rules {
			elses := 0
			for part := rule; part != nil; part = part.Else {
				ref := module.Package.Path.Extend(rule.Head.Ref().GroundPrefix())
				t.clauses = append(t.clauses, &clause{
					file: file, module: module, index: index, elses: elses, rule: part, ref: ref,
				})
				elses++
			}
		}
	}
	return t, nil
}

// isExhausted tells that no more is tried.
func (t *trials) isExhausted() bool {
	return t.count >= maxTrials || time.Since(t.began) > trialTime
}

// isHalfSpent tells that what was found should be made sure of.
func (t *trials) isHalfSpent() bool {
	return t.count >= maxTrials/2 || time.Since(t.began) > trialTime/2
}

// entry are the rules of the entrypoint.
func (t *trials) entry() []*clause {
	return t.clausesOf(t.target)
}

// clausesOf are the rules that a reference to data asks for, without defaults.
func (t *trials) clausesOf(ref ast.Ref) []*clause {
	var found []*clause
	for _, candidate := range t.clauses {
		if !candidate.rule.Default && (ref.HasPrefix(candidate.ref) || candidate.ref.HasPrefix(ref)) {
			found = append(found, candidate)
		}
	}
	return found
}

// clausesIn are the rules that something written in a clause refers to. Functions are not among them.
func (t *trials) clausesIn(in *clause, node any) []*clause {
	var found []*clause
	add := func(ref ast.Ref) {
		for _, next := range t.clausesOf(ref) {
			if len(next.rule.Head.Args) == 0 && !slices.Contains(found, next) && next != in {
				found = append(found, next)
			}
		}
	}
	ast.WalkTerms(node, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Var:
			if ref := resolve(in.module, ast.Ref{term}); len(ref) > 0 {
				add(ref)
			}
		case ast.Ref:
			if ref := resolve(in.module, value); len(ref) > 0 {
				add(ref.ConstantPrefix())
			}
		}
		return false
	})
	return found
}

// resolve gives the full reference of a name in a module; nil for what is neither of data nor of input.
func resolve(module *ast.Module, ref ast.Ref) ast.Ref {
	if ref[0].Equal(ast.DefaultRootDocument) || ref[0].Equal(ast.InputRootDocument) {
		return ref
	}
	name, isVar := ref[0].Value.(ast.Var)
	if !isVar {
		return nil
	}
	for _, imported := range module.Imports {
		if path, isRef := imported.Path.Value.(ast.Ref); isRef && imported.Name() == name {
			return path.Concat(ref[1:])
		}
	}
	for _, rule := range module.Rules {
		if rule.Head.Ref()[0].Value.Compare(name) == 0 {
			return module.Package.Path.Append(ast.StringTerm(string(name))).Concat(ref[1:])
		}
	}
	return nil
}

// result is how one evaluation ended.
type result struct {
	problems []problem
	message  string
	value    any
	isValue  bool
	text     string
}

// outcome is that of the gate: true, or an object whose `allowed` is true, allows.
func (r result) outcome() string {
	switch {
	case r.message != "" || len(r.problems) > 0:
		return "error"
	case !r.isValue:
		return "undefined"
	}
	if object, isObject := r.value.(map[string]any); isObject && object["allowed"] == true {
		return "allow"
	}
	if r.value == true {
		return "allow"
	}
	return "deny"
}

// flips tells whether the changed policy allows.
func (t *trials) flips(all changes) bool {
	key := t.hiddenKey() + all.key()
	known, isKnown := t.known[key]
	if isKnown {
		return known
	}
	if t.isExhausted() {
		return false
	}
	t.count++
	isAllowed := t.evaluate(all, nil).outcome() == "allow"
	t.known[key] = isAllowed
	return isAllowed
}

// focus leaves out the rules beside the clause that give the same, and did not: trials are faster then. What is found this way
// is tried again with all rules. It returns what ends it.
func (t *trials) focus(on *clause) func() {
	own := on.module.Rules[on.index]
	var hidden []*ast.Rule
	for _, other := range t.clauses {
		rule := other.module.Rules[other.index]
		if rule != own && !rule.Default && other.elses == 0 && other.ref.Equal(on.ref) && !t.base.holds(other) {
			hidden = append(hidden, rule)
			t.hidden[rule]++
		}
	}
	return func() {
		for _, rule := range hidden {
			if t.hidden[rule]--; t.hidden[rule] == 0 {
				delete(t.hidden, rule)
			}
		}
	}
}

// hiddenKey tells one set of rules that are left out from another.
func (t *trials) hiddenKey() string {
	if len(t.hidden) == 0 {
		return ""
	}
	digest := fnv.New64a()
	for _, candidate := range t.clauses {
		if t.hidden[candidate.module.Rules[candidate.index]] > 0 {
			fmt.Fprintln(digest, candidate.key())
		}
	}
	return fmt.Sprintf("%x/", digest.Sum64())
}

// nearestFirst puts the clauses first that had the fewest conditions left when they failed.
func (t *trials) nearestFirst(clauses []*clause) []*clause {
	sorted := slices.Clone(clauses)
	slices.SortStableFunc(sorted, func(one, other *clause) int {
		return cmp.Compare(t.base.left(one), t.base.left(other))
	})
	return sorted
}

func (t *trials) evaluate(all changes, tracer *tracer) result {
	compiler := t.original
	if compiler == nil || len(all)+len(t.hidden) > 0 {
		compiler = newCompiler(t.caps, t.data, false)
		compiler.Compile(t.changed(all))
	}
	if compiler.Failed() {
		return result{problems: fromErrors(compiler.Errors)}
	}
	if t.original == nil {
		t.original = compiler // nothing is changed the first time
	}
	results, err := t.query(compiler, tracer)
	if err != nil {
		return result{message: err.Error()}
	}
	if len(results) == 0 {
		return result{}
	}
	value := results[0].Expressions[0].Value
	text, err := json.Marshal(value)
	if err != nil {
		return result{message: err.Error()}
	}
	return result{value: value, isValue: true, text: string(text)}
}

func (t *trials) query(compiler *ast.Compiler, tracer *tracer) (rego.ResultSet, error) {
	prepared, err := rego.New(
		rego.Compiler(compiler),
		rego.Capabilities(t.caps),
		rego.Store(t.store),
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(t.target)))),
	).PrepareForEval(t.ctx)
	if err != nil {
		return nil, err
	}
	options := []rego.EvalOption{
		rego.EvalInput(t.input),
		rego.EvalTime(time.Unix(0, t.req.NowNs)),
		rego.EvalNDBuiltinCache(t.nd),
	}
	if tracer != nil {
		options = append(options, rego.EvalQueryTracer(tracer))
		if tracer.places != nil {
			options = append(options, rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
		}
	}
	return prepared.Eval(t.ctx, options...)
}
