// Reads request bodies with Go's own packages, as opa-envoy-plugin is documented to: one JSON object a line in, one out.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"strconv"
	"strings"
)

type question struct {
	// Kind is "body", or "target" for a path with its query.
	Kind   string  `json:"kind"`
	Type   string  `json:"type"`
	Length *string `json:"length"`
	Body   []byte  `json:"body"`
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
		if q.Kind == "target" {
			read = target
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
