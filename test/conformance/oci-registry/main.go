// A registry that others wrote, with artifacts that ORAS pushes. The first line of its output has its address. Each line of
// its input is a bundle to push, in base64, with its tag; a line of output answers it.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
)

const (
	layerType  = "application/vnd.oci.image.layer.v1.tar+gzip"
	configType = "application/vnd.cncf.openpolicyagent.config.v1+json"
	repository = "acme/policies"
)

type push struct {
	Tag    string `json:"tag"`
	Bundle string `json:"bundle"`
}

type pushed struct {
	Manifest string `json:"manifest"`
	Layer    string `json:"layer"`
	Error    string `json:"error,omitempty"`
}

func main() {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(map[string]string{"host": host, "repository": repository})
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var request push
		answer, err := pushed{}, json.Unmarshal(in.Bytes(), &request)
		if err == nil {
			answer, err = put(context.Background(), host, request)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		_ = out.Encode(answer)
	}
}

// As `oras push --config config.json:… bundle.tar.gz:…` does.
func put(ctx context.Context, host string, request push) (pushed, error) {
	bundle, err := base64.StdEncoding.DecodeString(request.Bundle)
	if err != nil {
		return pushed{}, err
	}
	store := memory.New()
	layer, err := oras.PushBytes(ctx, store, layerType, bundle)
	if err != nil {
		return pushed{}, err
	}
	layer.Annotations = map[string]string{ocispec.AnnotationTitle: "bundle.tar.gz"}
	config, err := oras.PushBytes(ctx, store, configType, []byte("{}"))
	if err != nil {
		return pushed{}, err
	}
	options := oras.PackManifestOptions{Layers: []ocispec.Descriptor{layer}, ConfigDescriptor: &config}
	manifest, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_0, configType, options)
	if err != nil {
		return pushed{}, err
	}
	if err := store.Tag(ctx, manifest, request.Tag); err != nil {
		return pushed{}, err
	}
	target, err := remote.NewRepository(fmt.Sprintf("%s/%s", host, repository))
	if err != nil {
		return pushed{}, err
	}
	target.PlainHTTP = true
	if _, err := oras.Copy(ctx, store, request.Tag, target, request.Tag, oras.DefaultCopyOptions); err != nil {
		return pushed{}, err
	}
	return pushed{Manifest: manifest.Digest.String(), Layer: layer.Digest.String()}, nil
}
