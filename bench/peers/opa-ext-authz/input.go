package main

import (
	"net/url"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"
)

var version = ast.NewObject(
	[2]*ast.Term{ast.StringTerm("ext_authz"), ast.StringTerm("v3")},
	[2]*ast.Term{ast.StringTerm("encoding"), ast.StringTerm("protojson")},
)

// inputOf is the input document of a check request.
func inputOf(request *authv3.CheckRequest, files *protoregistry.Files) (ast.Value, error) {
	http := request.GetAttributes().GetRequest().GetHttp()
	path, query, err := parseTarget(http.GetPath())
	if err != nil {
		return nil, err
	}
	body, isTruncated, err := parseBody(http, path, files)
	if err != nil {
		return nil, err
	}
	input := map[string]any{
		"parsed_path":    stringsValue(path),
		"parsed_query":   queryValue(query),
		"parsed_body":    body,
		"truncated_body": isTruncated,
		"version":        version,
	}
	if principal := request.GetAttributes().GetSource().GetPrincipal(); principal != "" {
		input["source_principal"] = principal
	}
	document := request.ProtoReflect()
	if attributes := request.GetAttributes(); attributes != nil {
		if input["attributes"], err = messageValue(document.Get(document.Descriptor().Fields().ByName("attributes")).Message()); err != nil {
			return nil, err
		}
	}
	return ast.InterfaceToValue(input)
}

func parseTarget(target string) ([]string, url.Values, error) {
	raw, rawQuery, _ := strings.Cut(target, "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, nil, err
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, nil, err
	}
	return strings.Split(strings.TrimLeft(path, "/"), "/"), query, nil
}

func stringsValue(texts []string) ast.Value {
	terms := make([]*ast.Term, len(texts))
	for index, text := range texts {
		terms[index] = ast.StringTerm(text)
	}
	return ast.NewArray(terms...)
}

func queryValue(query url.Values) ast.Value {
	object := ast.NewObject()
	for name, values := range query {
		object.Insert(ast.StringTerm(name), ast.NewTerm(stringsValue(values)))
	}
	return object
}

// messageValue shows the fields that are set, by their JSON names.
func messageValue(message protoreflect.Message) (ast.Value, error) {
	if document, ok := message.Interface().(*structpb.Struct); ok {
		return ast.InterfaceToValue(document.AsMap())
	}
	object := ast.NewObject()
	var failed error
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		shown, err := fieldValue(field, value)
		if err != nil {
			failed = err
			return false
		}
		object.Insert(ast.StringTerm(field.JSONName()), ast.NewTerm(shown))
		return true
	})
	return object, failed
}

func fieldValue(field protoreflect.FieldDescriptor, value protoreflect.Value) (ast.Value, error) {
	switch {
	case field.IsMap():
		return mapValue(field, value.Map())
	case field.IsList():
		list := value.List()
		terms := make([]*ast.Term, list.Len())
		for index := range terms {
			element, err := singleValue(field, list.Get(index))
			if err != nil {
				return nil, err
			}
			terms[index] = ast.NewTerm(element)
		}
		return ast.NewArray(terms...), nil
	default:
		return singleValue(field, value)
	}
}

func mapValue(field protoreflect.FieldDescriptor, entries protoreflect.Map) (ast.Value, error) {
	object := ast.NewObject()
	var failed error
	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		shown, err := singleValue(field.MapValue(), value)
		if err != nil {
			failed = err
			return false
		}
		object.Insert(ast.StringTerm(key.String()), ast.NewTerm(shown))
		return true
	})
	return object, failed
}

func singleValue(field protoreflect.FieldDescriptor, value protoreflect.Value) (ast.Value, error) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return messageValue(value.Message())
	case protoreflect.StringKind:
		return ast.String(value.String()), nil
	case protoreflect.EnumKind:
		return ast.InterfaceToValue(int(value.Enum()))
	default:
		return ast.InterfaceToValue(value.Interface())
	}
}
