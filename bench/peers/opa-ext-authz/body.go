package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"strconv"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// parseBody gives the body by its content type, or nil, and whether it is cut off.
func parseBody(http *authv3.AttributeContext_HttpRequest, path []string, files *protoregistry.Files) (any, bool, error) {
	headers := http.GetHeaders()
	if headers["x-envoy-auth-partial-body"] == "true" {
		return nil, true, nil
	}
	contentType := headers["content-type"]
	var parse func([]byte) (any, error)
	switch {
	case strings.Contains(contentType, "application/json"):
		parse = parseJSON
	case strings.Contains(contentType, "application/grpc"):
		return parseGRPC(http.GetRawBody(), path, files)
	case strings.Contains(contentType, "application/x-www-form-urlencoded"):
		parse = parseForm
	case strings.Contains(contentType, "multipart/form-data"):
		parse = func(body []byte) (any, error) { return parseMultipart(contentType, body) }
	default:
		return nil, false, nil
	}
	body := []byte(http.GetBody())
	if len(body) == 0 {
		body = http.GetRawBody()
	}
	if len(body) == 0 {
		return nil, false, nil
	}
	if text, ok := headers["content-length"]; ok {
		length, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, false, err
		}
		if length > int64(len(body)) {
			return nil, true, nil
		}
	}
	value, err := parse(body)
	return value, false, err
}

func parseJSON(text []byte) (any, error) {
	var value any
	err := util.UnmarshalJSON(text, &value)
	return value, err
}

func parseForm(text []byte) (any, error) {
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	return queryValue(values), nil
}

func parseMultipart(contentType string, body []byte) (any, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	boundary, ok := parameters["boundary"]
	if !ok {
		return nil, nil
	}
	values := map[string]any{}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if err == io.EOF { // one that is wrapped is a body that is cut off
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		name := part.FormName()
		if name == "" {
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		var value any = string(content)
		if strings.Contains(part.Header.Get("Content-Type"), "application/json") {
			if value, err = parseJSON(content); err != nil {
				return nil, err
			}
		}
		before, _ := values[name].([]any)
		values[name] = append(before, value)
	}
}

// parseGRPC gives the first message of a call that takes a single one.
func parseGRPC(body []byte, path []string, files *protoregistry.Files) (any, bool, error) {
	if files == nil || len(body) == 0 {
		return nil, false, nil
	}
	if len(path) != 2 {
		return nil, false, errors.New("invalid parsed path")
	}
	if len(body) < 5 {
		return nil, false, errors.New("less than 5 bytes")
	}
	if body[0] != 0 {
		return nil, false, nil
	}
	size := binary.BigEndian.Uint32(body[1:5])
	if uint64(size) > uint64(len(body)-5) {
		return nil, true, nil
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(path[0]))
	if err != nil {
		return nil, false, nil
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, false, nil
	}
	method := service.Methods().ByName(protoreflect.Name(path[1]))
	if method == nil || method.IsStreamingClient() {
		return nil, false, nil
	}
	message := dynamicpb.NewMessage(method.Input())
	if err := proto.Unmarshal(body[5:5+size], message); err != nil {
		return nil, false, err
	}
	text, err := protojson.Marshal(message)
	if err != nil {
		return nil, false, err
	}
	value, err := parseJSON(text)
	return value, false, err
}

func readDescriptors(name string) (*protoregistry.Files, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return protodesc.NewFiles(&set)
}
