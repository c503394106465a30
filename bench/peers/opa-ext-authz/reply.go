package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
)

// Check answers one request. Its errors are gRPC errors, as those of the plugin are.
func (a *authorization) Check(ctx context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	name := defaultPolicy
	if asked, ok := request.GetAttributes().GetContextExtensions()["svidgate.policy"]; ok {
		name = asked
	}
	policy := a.policies[name]
	if policy == nil {
		return nil, fmt.Errorf("no policy %q", name)
	}
	input, err := inputOf(request, a.files)
	if err != nil {
		return parseErrorReply(err), nil
	}
	decision, err := policy.decide(ctx, input)
	if err != nil {
		return nil, err
	}
	return replyFor(decision)
}

func parseErrorReply(err error) *authv3.CheckResponse {
	message := fmt.Sprintf("request_parse_error: %v", err)
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied), Message: message},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_BadRequest},
			Body:   message,
		}},
	}
}

func replyFor(decision any) (*authv3.CheckResponse, error) {
	reply := &authv3.CheckResponse{DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{}}}
	isAllowed, isBoolean := decision.(bool)
	if !isBoolean {
		object, ok := decision.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("illegal value for policy evaluation result: %T", decision)
		}
		if isAllowed, ok = object["allowed"].(bool); !ok {
			return nil, errors.New("no boolean `allowed` in the policy evaluation result")
		}
		if err := addFields(reply, answer(object), isAllowed); err != nil {
			return nil, err
		}
	}
	code := codes.PermissionDenied
	if isAllowed {
		code = codes.OK
	}
	reply.Status = &status.Status{Code: int32(code)}
	reply.DynamicMetadata.Fields["decision_id"] = structpb.NewStringValue(uuid.NewString())
	return reply, nil
}

func addFields(reply *authv3.CheckResponse, object answer, isAllowed bool) error {
	headers, err := object.headers("headers")
	if err != nil {
		return err
	}
	if given, ok := object["dynamic_metadata"]; ok {
		metadata, ok := given.(map[string]any)
		if !ok {
			return fmt.Errorf("dynamic_metadata is %T", given)
		}
		if reply.DynamicMetadata, err = structpb.NewStruct(metadata); err != nil {
			return err
		}
	}
	if isAllowed {
		allowed, err := object.allow(headers)
		reply.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: allowed}
		return err
	}
	denied, err := object.deny(headers)
	reply.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied}
	return err
}

type answer map[string]any

func (a answer) allow(headers []*corev3.HeaderValueOption) (*authv3.OkHttpResponse, error) {
	reply := &authv3.OkHttpResponse{Headers: headers}
	var err error
	if reply.HeadersToRemove, err = a.names("request_headers_to_remove"); err != nil {
		return nil, err
	}
	if reply.ResponseHeadersToAdd, err = a.headers("response_headers_to_add"); err != nil {
		return nil, err
	}
	if reply.QueryParametersToRemove, err = a.names("query_parameters_to_remove"); err != nil {
		return nil, err
	}
	given, ok := a["query_parameters_to_set"]
	if !ok {
		return reply, nil
	}
	parameters, ok := given.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("query_parameters_to_set is %T", given)
	}
	err = eachText(parameters, func(name, value string) {
		reply.QueryParametersToSet = append(reply.QueryParametersToSet, &corev3.QueryParameter{Key: name, Value: value})
	})
	return reply, err
}

func (a answer) deny(headers []*corev3.HeaderValueOption) (*authv3.DeniedHttpResponse, error) {
	reply := &authv3.DeniedHttpResponse{Headers: headers}
	if given, ok := a["body"]; ok {
		if reply.Body, ok = given.(string); !ok {
			return nil, fmt.Errorf("body is %T", given)
		}
	}
	code := int64(http.StatusForbidden)
	if given, ok := a["http_status"]; ok {
		number, ok := given.(json.Number)
		if !ok {
			return nil, fmt.Errorf("http_status is %T", given)
		}
		var err error
		if code, err = number.Int64(); err != nil {
			return nil, err
		}
	}
	if _, ok := typev3.StatusCode_name[int32(code)]; !ok || http.StatusText(int(code)) == "" {
		return nil, fmt.Errorf("invalid HTTP status code %d", code)
	}
	reply.Status = &typev3.HttpStatus{Code: typev3.StatusCode(code)}
	return reply, nil
}

// headers are an object from names to a text or texts, or a list of such objects.
func (a answer) headers(key string) ([]*corev3.HeaderValueOption, error) {
	given, ok := a[key]
	if !ok {
		return nil, nil
	}
	objects, ok := given.([]any)
	if !ok {
		objects = []any{given}
	}
	var headers []*corev3.HeaderValueOption
	for _, each := range objects {
		object, ok := each.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s has %T", key, each)
		}
		err := eachText(object, func(name, value string) {
			headers = append(headers, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}})
		})
		if err != nil {
			return nil, err
		}
	}
	return headers, nil
}

func eachText(object map[string]any, add func(name, value string)) error {
	for name, value := range object {
		values, ok := value.([]any)
		if !ok {
			values = []any{value}
		}
		for _, each := range values {
			text, ok := each.(string)
			if !ok {
				return fmt.Errorf("%s has %T", name, each)
			}
			add(name, text)
		}
	}
	return nil
}

func (a answer) names(key string) ([]string, error) {
	given, ok := a[key]
	if !ok {
		return nil, nil
	}
	list, ok := given.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is %T", key, given)
	}
	names := make([]string, len(list))
	for index, each := range list {
		if names[index], ok = each.(string); !ok {
			return nil, fmt.Errorf("%s has %T", key, each)
		}
	}
	return names, nil
}
