package main

import (
	"fmt"
	"slices"
	"sort"

	"github.com/open-policy-agent/opa/v1/ast"
)

// mayConflict finds rules and functions that an entrypoint can look at and that may give two values at once: an error, which
// is a deny, but one that partial evaluation does not see. Those are not named whose values are all the same constant, that
// depend on data alone (their error shows at once), or whose definitions exclude each other.
func mayConflict(compiler *ast.Compiler, entrypoints []ast.Ref) []problem {
	reached := reachedRules(compiler, entrypoints)
	groups := map[string][]*ast.Rule{}
	isBranch := map[*ast.Rule]bool{}
	for _, rule := range reached {
		for branch := rule.Else; branch != nil; branch = branch.Else {
			isBranch[branch] = true
		}
	}
	for _, rule := range reached {
		if !isBranch[rule] && rule.Head.RuleKind() == ast.SingleValue && !rule.Default {
			name := rule.Ref().GroundPrefix().String()
			groups[name] = append(groups[name], rule)
		}
	}
	for _, rule := range reached {
		if rule.Head.RuleKind() == ast.MultiValue && (hasObjectComprehension(rule) || hasVariableName(rule)) {
			name := rule.Ref().GroundPrefix().String()
			groups[name] = append(groups[name], rule)
		}
	}
	problems := []problem{}
	for _, name := range sortedKeys(groups) {
		sort.SliceStable(groups[name], func(i, j int) bool {
			return groups[name][i].Location.Compare(groups[name][j].Location) < 0
		})
		found := conflictIn(compiler, groups[name])
		if found == nil {
			found = overlapIn(groups[name], reached)
		}
		if found == nil {
			continue
		}
		at := problem{Code: "may_conflict", Message: fmt.Sprintf("%s may have two values at once", name)}
		if found.Location != nil {
			at.File, at.Line, at.Column = found.Location.File, found.Location.Row, found.Location.Col
		}
		problems = append(problems, at)
	}
	return problems
}

// reachedRules are those of the entrypoints and all that they depend on, some else branches by themselves, too. What has a
// name with variables is evaluated as a whole, with all that stands beside it.
func reachedRules(compiler *ast.Compiler, entrypoints []ast.Ref) []*ast.Rule {
	var rules []*ast.Rule
	seen := map[*ast.Rule]bool{}
	var reach func(rule *ast.Rule)
	reach = func(rule *ast.Rule) {
		if seen[rule] {
			return
		}
		seen[rule] = true
		rules = append(rules, rule)
		if hasVariableName(rule) {
			for _, other := range compiler.GetRulesWithPrefix(rule.Ref().GroundPrefix()) {
				reach(other)
			}
		}
		for branch := rule; branch != nil; branch = branch.Else {
			for needed := range compiler.Graph.Dependencies(branch) {
				if other, isRule := needed.(*ast.Rule); isRule {
					reach(other)
				}
			}
		}
	}
	for _, entrypoint := range entrypoints {
		for _, rule := range compiler.GetRulesDynamic(entrypoint) {
			reach(rule)
		}
	}
	return rules
}

// conflictIn is the definition that may give another value than one before it, or several itself.
func conflictIn(compiler *ast.Compiler, group []*ast.Rule) *ast.Rule {
	if slices.ContainsFunc(group, func(rule *ast.Rule) bool { return rule.Head.RuleKind() == ast.MultiValue }) || sameConstant(group) {
		return nil
	}
	first := group[0]
	isPlain := len(first.Head.Args) == 0 && len(first.Ref().GroundPrefix()) == len(first.Ref())
	if isPlain && !dependsOnInput(compiler, group) {
		return nil
	}
	for index, rule := range group {
		if len(rule.Ref().GroundPrefix()) != len(rule.Ref()) {
			return rule
		}
		for branch := rule; branch != nil; branch = branch.Else {
			if !hasOneValue(compiler, branch) {
				return branch
			}
		}
		for _, other := range group[:index] {
			if !sameConstant([]*ast.Rule{rule, other}) && !exclude(rule, other) {
				return rule
			}
		}
	}
	return nil
}

// sameConstant tells whether all branches give one value that does not depend on anything.
func sameConstant(group []*ast.Rule) bool {
	wanted := group[0].Head.Value
	for _, rule := range group {
		for branch := rule; branch != nil; branch = branch.Else {
			if value := branch.Head.Value; value == nil || !value.IsGround() || isComputed(value) || !value.Equal(wanted) {
				return false
			}
		}
	}
	return true
}

// isComputed holds for terms whose value depends on more than their text.
func isComputed(term *ast.Term) bool {
	computed := false
	ast.WalkTerms(term, func(t *ast.Term) bool {
		switch t.Value.(type) {
		case ast.Ref, ast.Var, ast.Call, *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			computed = true
		}
		return computed
	})
	return computed
}

func dependsOnInput(compiler *ast.Compiler, group []*ast.Rule) bool {
	seen := map[*ast.Rule]bool{}
	var depends func(rule *ast.Rule) bool
	depends = func(rule *ast.Rule) bool {
		if seen[rule] {
			return false
		}
		seen[rule] = true
		found := false
		ast.WalkTerms(rule, func(t *ast.Term) bool {
			switch value := t.Value.(type) {
			case ast.Var:
				found = found || value.Equal(ast.InputRootDocument.Value)
			case ast.Call:
				found = found || isNondeterministic(value[0])
			}
			return found
		})
		ast.WalkExprs(rule, func(expr *ast.Expr) bool {
			found = found || len(expr.With) > 0 || (expr.IsCall() && isNondeterministic(expr.OperatorTerm()))
			return found
		})
		for branch := rule; branch != nil; branch = branch.Else {
			for needed := range compiler.Graph.Dependencies(branch) {
				if other, isRule := needed.(*ast.Rule); isRule && !found {
					found = depends(other)
				}
			}
		}
		return found
	}
	for _, rule := range group {
		if depends(rule) {
			return true
		}
	}
	return false
}

func isNondeterministic(operator *ast.Term) bool {
	builtin := ast.BuiltinMap[operator.String()]
	return builtin != nil && builtin.Nondeterministic
}

// hasOneValue tells whether the value of a branch follows from its arguments: from nothing that the body goes through.
func hasOneValue(compiler *ast.Compiler, branch *ast.Rule) bool {
	if branch.Head.Value == nil || (branch.Head.Value.IsGround() && !isComputed(branch.Head.Value)) {
		return true
	}
	outer := varsOutsideClosures(branch.Body)
	for name := range varsOutsideClosures(branch.Head.Value) {
		outer.Add(name)
	}
	known := ast.NewVarSet(ast.DefaultRootDocument.Value.(ast.Var), ast.InputRootDocument.Value.(ast.Var))
	for _, arg := range branch.Head.Args {
		known.Update(varsOutsideClosures(arg))
	}
	follows := func(node any) bool {
		for name := range allVars(node) {
			if outer.Contains(name) && !known.Contains(name) {
				return false
			}
		}
		return true
	}
	for changed := true; changed; {
		before := len(known)
		for _, expr := range branch.Body {
			if expr.Negated || len(expr.With) > 0 {
				continue
			}
			learn(compiler, expr, known, follows)
		}
		changed = len(known) > before
	}
	return follows(branch.Head.Value)
}

// learn adds the variables that an expression gives one value.
func learn(compiler *ast.Compiler, expr *ast.Expr, known ast.VarSet, follows func(any) bool) {
	if expr.IsEquality() || expr.IsAssignment() {
		left, right := expr.Operand(0), expr.Operand(1)
		if follows(right) {
			known.Update(patternVars(left))
		}
		if follows(left) {
			known.Update(patternVars(right))
		}
		return
	}
	if !expr.IsCall() {
		return
	}
	name := expr.Operator()
	if builtin := ast.BuiltinMap[name.String()]; builtin != nil && builtin.Relation {
		return
	}
	operands := expr.Operands()
	arity := compiler.GetArity(name)
	if arity < 0 || len(operands) != arity+1 {
		return
	}
	for _, operand := range operands[:arity] {
		if !follows(operand) {
			return
		}
	}
	known.Update(patternVars(operands[arity]))
}

// patternVars are the variables of a term that get their values by being matched: not those of references or closures.
func patternVars(term *ast.Term) ast.VarSet {
	vars := ast.NewVarSet()
	var collect func(t *ast.Term)
	collect = func(t *ast.Term) {
		switch value := t.Value.(type) {
		case ast.Var:
			vars.Add(value)
		case *ast.Array:
			value.Foreach(collect)
		case ast.Object:
			value.Foreach(func(_, each *ast.Term) { collect(each) })
		}
	}
	collect(term)
	return vars
}

func varsOutsideClosures(node any) ast.VarSet {
	visitor := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipClosures: true, SkipRefCallHead: true})
	visitor.Walk(node)
	return visitor.Vars().Copy()
}

func allVars(node any) ast.VarSet {
	visitor := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipRefCallHead: true})
	visitor.Walk(node)
	return visitor.Vars().Copy()
}

// exclude tells whether never more than one of two definitions holds, as their text shows: other constant arguments, or a
// condition that one has and the other negates, in all their branches.
func exclude(one, other *ast.Rule) bool {
	for i, arg := range one.Head.Args {
		if i < len(other.Head.Args) && isOther(arg, other.Head.Args[i]) {
			return true
		}
	}
	for a := one; a != nil; a = a.Else {
		for b := other; b != nil; b = b.Else {
			if !negates(a.Body, b.Body) && !negates(b.Body, a.Body) {
				return false
			}
		}
	}
	return true
}

func isOther(one, other *ast.Term) bool {
	return one.IsGround() && other.IsGround() && !isComputed(one) && !isComputed(other) && !one.Equal(other)
}

// negates tells whether one body asks for what the other denies, where both mean the same by it.
func negates(body, other ast.Body) bool {
	for _, expr := range body {
		if expr.Negated || len(expr.With) > 0 || len(varsOutsideClosures(expr)) > rootsOf(expr) {
			continue
		}
		for _, denied := range other {
			if !denied.Negated || len(denied.With) > 0 {
				continue
			}
			positive := denied.Complement()
			positive.Index = expr.Index
			if positive.Equal(expr) {
				return true
			}
		}
	}
	return false
}

// rootsOf counts `input` and `data` among the variables of an expression; one with a closure is never taken.
func rootsOf(expr *ast.Expr) int {
	for name := range allVars(expr) {
		if !ast.RootDocumentNames.Contains(ast.NewTerm(name)) {
			return -1
		}
	}
	return len(varsOutsideClosures(expr))
}

// conflictsOf compiles the modules as they are, with their else branches. Deciding are the places of the entrypoints' rules.
func conflictsOf(compiler *ast.Compiler, entrypoints []string) (conflicts, deciding []problem) {
	refs := []ast.Ref{}
	for _, entrypoint := range entrypoints {
		ref, err := ast.PtrRef(ast.DefaultRootDocument, entrypoint)
		if err != nil {
			return []problem{{Code: "may_conflict", Message: err.Error()}}, nil
		}
		refs = append(refs, ref)
		for _, rule := range compiler.GetRulesDynamic(ref) {
			at := problem{Code: "rule", Message: rule.Ref().GroundPrefix().String()}
			if rule.Location != nil && !rule.Default {
				at.File, at.Line, at.Column = rule.Location.File, rule.Location.Row, rule.Location.Col
				deciding = append(deciding, at)
			}
		}
	}
	return append(mayConflict(compiler, refs), misplacedEvery(compiler, refs)...), deciding
}
