package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
	"go.yaml.in/yaml/v3"
)

// mergeDocuments mounts each data document at the path of its folder, as OPA does for a bundle.
func mergeDocuments(texts map[string]string) (map[string]any, []problem) {
	root := map[string]any{}
	var problems []problem
	for _, name := range sortedKeys(texts) {
		document, found := parseDocument(name, texts[name])
		if found != nil {
			problems = append(problems, *found)
			continue
		}
		if conflict := mount(root, folderOf(name), document); conflict != "" {
			problems = append(problems, problem{
				Code:    "data_conflict",
				Message: fmt.Sprintf("data.%s is already defined by another data file", conflict),
				File:    name,
			})
		}
	}
	return root, problems
}

func folderOf(name string) []string {
	folder := path.Dir(name)
	if folder == "." || folder == "/" {
		return nil
	}
	return strings.Split(strings.Trim(folder, "/"), "/")
}

func parseDocument(name, text string) (map[string]any, *problem) {
	var value any
	var err error
	if path.Ext(name) == ".json" {
		err = util.UnmarshalJSON([]byte(text), &value)
	} else {
		err = unmarshalYAML([]byte(text), &value)
	}
	if err != nil {
		line, column := placeOf(err, text)
		return nil, &problem{Code: "data_invalid", Message: err.Error(), File: name, Line: line, Column: column}
	}
	if value == nil && path.Ext(name) != ".json" {
		return map[string]any{}, nil // an empty YAML file
	}
	document, isObject := value.(map[string]any)
	if !isObject {
		return nil, &problem{Code: "data_invalid", Message: "the document is not an object", File: name, Line: 1, Column: 1}
	}
	return document, nil
}

// unmarshalYAML takes what OPA takes, but for a key that is there twice and a second document: OPA drops one of the two
// without a word, which in a list of permissions is a mistake that nobody sees.
func unmarshalYAML(text []byte, value *any) error {
	var probe any
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&probe); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := decoder.Decode(&probe); err == nil {
		return errors.New("the file holds more than one YAML document")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return util.Unmarshal(text, value)
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func placeOf(err error, text string) (line, column int) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		before := []byte(text)[:min(int(syntax.Offset), len(text))]
		return bytes.Count(before, []byte{'\n'}) + 1, max(1, len(before)-bytes.LastIndexByte(before, '\n')-1)
	}
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		line, _ = strconv.Atoi(found[1])
		return line, 1
	}
	return 0, 0
}

// mount merges the document into root at the path; it returns the path of the first conflict, or "".
func mount(root map[string]any, at []string, document map[string]any) string {
	for i, key := range at {
		child, isObject := root[key].(map[string]any)
		if _, exists := root[key]; exists && !isObject {
			return strings.Join(at[:i+1], ".")
		}
		if child == nil {
			child = map[string]any{}
			root[key] = child
		}
		root = child
	}
	return merge(root, document, strings.Join(at, "."))
}

func merge(into, from map[string]any, at string) string {
	for _, key := range sortedKeys(from) {
		place := strings.TrimPrefix(at+"."+key, ".")
		present, exists := into[key]
		if !exists {
			into[key] = from[key]
			continue
		}
		left, leftIsObject := present.(map[string]any)
		right, rightIsObject := from[key].(map[string]any)
		if !leftIsObject || !rightIsObject {
			return place
		}
		if conflict := merge(left, right, place); conflict != "" {
			return conflict
		}
	}
	return ""
}

func documentAt(data map[string]any, at []string) bool {
	var value any = data
	for _, key := range at {
		object, isObject := value.(map[string]any)
		if !isObject {
			return false
		}
		next, exists := object[key]
		if !exists {
			return false
		}
		value = next
	}
	return true
}

// dataRef turns envoy/authz/allow into data.envoy.authz.allow.
func dataRef(entrypoint string) (ast.Ref, error) {
	ref := ast.Ref{ast.DefaultRootDocument}
	for _, part := range strings.Split(entrypoint, "/") {
		if part == "" {
			return nil, fmt.Errorf("the entrypoint %q is not of the form package/rule", entrypoint)
		}
		ref = append(ref, ast.StringTerm(part))
	}
	return ref, nil
}
