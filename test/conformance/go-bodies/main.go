// Reads request bodies with Go's own packages, as opa-envoy-plugin is documented to: one JSON object a line in, one out.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type question struct {
	// Kind is "body", "target" for a path with its query, "message" for a protobuf message of Type, or "known" for the
	// FileDescriptorSet of the well-known types.
	Kind   string  `json:"kind"`
	Type   string  `json:"type"`
	Length *string `json:"length"`
	Body   []byte  `json:"body"`
	// Set is the FileDescriptorSet of this message and those that follow.
	Set []byte `json:"set"`
}

type answer struct {
	Refused   string `json:"refused,omitempty"`
	Truncated bool   `json:"truncated"`
	Value     any    `json:"value"`
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		read := body
		switch q.Kind {
		case "target":
			read = target
		case "message":
			read = message
		case "known":
			read = known
		}
		value, truncated, err := read(q)
		a := answer{Value: value, Truncated: truncated}
		if err != nil {
			a = answer{Refused: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
}

func body(q question) (any, bool, error) {
	isJSON := strings.Contains(q.Type, "application/json")
	isForm := strings.Contains(q.Type, "application/x-www-form-urlencoded")
	isMultipart := strings.Contains(q.Type, "multipart/form-data")
	if len(q.Body) == 0 || !isJSON && !isForm && !isMultipart {
		return nil, false, nil
	}
	if q.Length != nil {
		length, err := strconv.ParseInt(*q.Length, 10, 64)
		if err != nil {
			return nil, false, err
		}
		if length > int64(len(q.Body)) {
			return nil, true, nil
		}
	}
	var value any
	var err error
	switch {
	case isJSON:
		value, err = parseJSON(q.Body)
	case isForm:
		value, err = url.ParseQuery(string(q.Body))
	case isMultipart:
		value, err = parts(q)
	}
	return value, false, err
}

func parseJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the value")
	}
	return value, nil
}

func parts(q question) (any, error) {
	_, parameters, err := mime.ParseMediaType(q.Type)
	if err != nil {
		return nil, err
	}
	boundary, ok := parameters["boundary"]
	if !ok {
		return nil, nil
	}
	values := map[string][]any{}
	reader := multipart.NewReader(bytes.NewReader(q.Body), boundary)
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
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
		values[name] = append(values[name], value)
	}
}

func target(q question) (any, bool, error) {
	raw, query, _ := strings.Cut(string(q.Body), "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, false, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, false, err
	}
	return map[string]any{"path": strings.Split(strings.TrimLeft(path, "/"), "/"), "query": values}, false, nil
}

// files are those of the last set that was given.
var files *protoregistry.Files

func message(q question) (value any, truncated bool, err error) {
	// dynamicpb panics on some map entries.
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	if len(q.Set) > 0 {
		var set descriptorpb.FileDescriptorSet
		if err := proto.Unmarshal(q.Set, &set); err != nil {
			panic(err)
		}
		if files, err = protodesc.NewFiles(&set); err != nil {
			panic(err)
		}
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(q.Type))
	if err != nil {
		panic(err)
	}
	read := dynamicpb.NewMessage(found.(protoreflect.MessageDescriptor))
	if err := proto.Unmarshal(q.Body, read); err != nil {
		return nil, false, err
	}
	text, err := protojson.Marshal(read)
	if err != nil {
		return nil, false, err
	}
	return json.RawMessage(text), false, nil
}

func known(question) (any, bool, error) {
	var set descriptorpb.FileDescriptorSet
	for _, file := range []protoreflect.FileDescriptor{
		anypb.File_google_protobuf_any_proto,
		durationpb.File_google_protobuf_duration_proto,
		emptypb.File_google_protobuf_empty_proto,
		fieldmaskpb.File_google_protobuf_field_mask_proto,
		structpb.File_google_protobuf_struct_proto,
		timestamppb.File_google_protobuf_timestamp_proto,
		wrapperspb.File_google_protobuf_wrappers_proto,
	} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	bytes, err := proto.Marshal(&set)
	return bytes, false, err
}
