// Reads exports of logs by the published protobuf definitions: JSON values on standard input, each with trace and span ids in
// base64 as protojson has bytes, and for each one line on standard output: what was read, or {"refused": why}.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func main() {
	in := json.NewDecoder(os.Stdin)
	for {
		var body json.RawMessage
		if err := in.Decode(&body); err != nil {
			return
		}
		fmt.Println(string(answer(body)))
	}
}

// The request of the collector's service has the same fields as LogsData, and its package brings gRPC along.
func answer(body []byte) []byte {
	var data logs.LogsData
	if err := protojson.Unmarshal(body, &data); err != nil {
		refused, _ := json.Marshal(map[string]string{"refused": err.Error()})
		return refused
	}
	wire, err := proto.Marshal(&data)
	if err != nil {
		panic(err)
	}
	var again logs.LogsData
	if err := proto.Unmarshal(wire, &again); err != nil {
		panic(err)
	}
	text, err := protojson.Marshal(&again)
	if err != nil {
		panic(err)
	}
	return text
}
