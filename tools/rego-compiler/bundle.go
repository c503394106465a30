package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/keys"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

// bundleRequest is what "bundle" reads.
type bundleRequest struct {
	// Files are in the order of the archive, with its own names.
	Files []archivedFile `json:"files"`
	// Verification is null where no signature is expected; a signed bundle is refused then.
	Verification *verification `json:"verification"`
}

type archivedFile struct {
	Path string `json:"path"`
	// Content is in base64 in JSON.
	Content []byte `json:"content"`
}

// verification is OPA's own: keys by id, the id of the one that counts (or empty: the one that the signature names), the
// scope, and patterns of files that need not be signed.
type verification struct {
	Keys    map[string]verificationKey `json:"keys"`
	KeyID   string                     `json:"keyId"`
	Scope   string                     `json:"scope"`
	Exclude []string                   `json:"exclude"`
}

type verificationKey struct {
	Algorithm string `json:"algorithm"`
	// Key is PEM, or the bytes of a secret; in base64 in JSON.
	Key []byte `json:"key"`
}

// bundleContent is a bundle as OPA reads it.
type bundleContent struct {
	// Kind is "snapshot" or "delta".
	Kind     string `json:"kind"`
	Revision string `json:"revision"`
	// Manifest is its JSON text, with the roots in full.
	Manifest string `json:"manifest"`
	// SignedBy is the id of the key, if there was a signature.
	SignedBy string `json:"signedBy,omitempty"`
	// Data is the JSON text of all data documents merged: a string, so that no reader rounds its numbers.
	Data string `json:"data,omitempty"`
	// Modules are the names of the Rego files in the archive.
	Modules []string `json:"modules,omitempty"`
	// Rewritten holds, by name, what Rego of version 0 is in version 1.
	Rewritten map[string]string `json:"rewritten,omitempty"`
	Wasm      []wasmFile        `json:"wasm,omitempty"`
	// Patch is the JSON text of the operations of a delta.
	Patch string `json:"patch,omitempty"`
}

// wasmFile is a compiled module and what the manifest says it answers.
type wasmFile struct {
	Path        string   `json:"path"`
	Entrypoints []string `json:"entrypoints"`
	// Only are those of the entrypoints whose rules are not in the bundle's Rego: OPA takes them out when it compiles.
	Only []string `json:"only"`
}

// readBundle has OPA's own reader read the files and check signature, roots and syntax.
func readBundle(ctx context.Context, req request) response {
	if req.Bundle == nil {
		return failed(problem{Code: "bundle_invalid", Message: "no bundle is given"})
	}
	config, err := req.Bundle.Verification.config()
	if err != nil {
		return failed(bundleProblem(err))
	}
	reader := bundle.NewCustomReader(&archive{files: req.Bundle.Files}).
		WithBundleVerificationConfig(config).
		WithLazyLoadingMode(false).
		WithProcessAnnotations(true).
		WithRegoVersion(ast.RegoV1)
	read, err := reader.Read()
	if err != nil {
		var syntax ast.Errors
		if errors.As(err, &syntax) {
			return failed(fromError(err)...)
		}
		return failed(bundleProblem(err))
	}
	if problems := carelessYAML(req.Bundle.Files); len(problems) > 0 {
		return failed(problems...)
	}
	if read.Type() == bundle.SnapshotBundleType && !slices.Contains(*read.Manifest.Roots, "") {
		// What stands above the roots is no part of it, and OPA drops it when it activates the bundle.
		if read.Data, err = activate(ctx, &bundle.Bundle{Manifest: read.Manifest, Data: read.Data}); err != nil {
			return failed(bundleProblem(err))
		}
	}
	content, problems := contentOf(&read)
	if len(problems) > 0 {
		return failed(problems...)
	}
	if content.Kind == bundle.SnapshotBundleType && config != nil {
		content.SignedBy = signer(read.Signatures, config)
	}
	return response{OK: true, Bundle: content}
}

func bundleProblem(err error) problem {
	return problem{Code: "bundle_invalid", Message: err.Error()}
}

// config is nil for nil: OPA then refuses what is signed.
func (v *verification) config() (*bundle.VerificationConfig, error) {
	if v == nil {
		return nil, nil
	}
	configured := make(map[string]*keys.Config, len(v.Keys))
	for id, key := range v.Keys {
		configured[id] = &keys.Config{Key: string(key.Key), Algorithm: key.Algorithm}
	}
	config := bundle.NewVerificationConfig(configured, v.KeyID, v.Scope, v.Exclude)
	return config, config.ValidateAndInjectDefaults(configured)
}

// signer names the key as OPA chose it for a signature that it has verified.
func signer(signatures bundle.SignaturesConfig, config *bundle.VerificationConfig) string {
	if config.KeyID != "" || len(signatures.Signatures) == 0 {
		return config.KeyID
	}
	parts := strings.Split(signatures.Signatures[0], ".")
	// A struct would take KID for kid, which OPA does not.
	var header map[string]any
	var payload bundle.DecodedSignature
	decode(parts[0], &header)
	if id, _ := header["kid"].(string); id != "" {
		return id
	}
	decode(parts[1], &payload)
	return payload.KeyID
}

func decode(part string, into any) {
	if text, err := base64.RawURLEncoding.DecodeString(part); err == nil {
		_ = json.Unmarshal(text, into)
	}
}

// carelessYAML refuses what OPA drops without a word: see unmarshalYAML.
func carelessYAML(files []archivedFile) []problem {
	var problems []problem
	for _, file := range files {
		if !bundle.IsYAMLDataFile(file.Path) {
			continue
		}
		var value any
		if err := unmarshalYAML(file.Content, &value); err != nil {
			line, column := placeOf(err, string(file.Content))
			problems = append(problems, problem{
				Code: "data_invalid", Message: err.Error(), File: file.Path, Line: line, Column: column,
			})
		}
	}
	return problems
}

func contentOf(read *bundle.Bundle) (*bundleContent, []problem) {
	content := &bundleContent{Kind: read.Type(), Revision: read.Manifest.Revision}
	manifest, err := json.Marshal(read.Manifest)
	if err != nil {
		return nil, []problem{bundleProblem(err)}
	}
	content.Manifest = string(manifest)
	if content.Kind == bundle.DeltaBundleType {
		patch, err := json.Marshal(read.Patch.Data)
		if err != nil {
			return nil, []problem{bundleProblem(err)}
		}
		content.Patch = string(patch)
		return content, nil
	}
	data, err := json.Marshal(read.Data)
	if err != nil {
		return nil, []problem{bundleProblem(err)}
	}
	content.Data = string(data)
	for _, module := range read.Modules {
		content.Modules = append(content.Modules, module.Path)
	}
	var problems []problem
	content.Rewritten, problems = rewriteOldRego(read)
	content.Wasm = wasmFiles(read)
	return content, problems
}

// rewriteOldRego gives the modules of version 0 as `opa fmt --v0-v1` does.
func rewriteOldRego(read *bundle.Bundle) (map[string]string, []problem) {
	rewritten := map[string]string{}
	var problems []problem
	for _, module := range read.Modules {
		version, err := read.RegoVersionForFile(module.RelativePath, read.RegoVersion(ast.RegoV1))
		if err != nil {
			return nil, []problem{bundleProblem(err)}
		}
		switch version {
		case ast.RegoV1:
			continue
		case ast.RegoV0:
			text, err := format.SourceWithOpts(module.Path, module.Raw, format.Opts{
				RegoVersion:   ast.RegoV1,
				ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV0},
			})
			if err != nil {
				problems = append(problems, fromError(err)...)
				continue
			}
			rewritten[module.Path] = string(text)
		default:
			problems = append(problems, problem{
				Code:    "rego_version",
				Message: fmt.Sprintf("Rego of version %d is not supported, only 0 and 1", version.Int()),
				File:    module.Path,
			})
		}
	}
	return rewritten, problems
}

func wasmFiles(read *bundle.Bundle) []wasmFile {
	var found []wasmFile
	for _, module := range read.WasmModules {
		file := wasmFile{Path: module.Path, Entrypoints: []string{}, Only: []string{}}
		for _, resolver := range read.Manifest.WasmResolvers {
			if resolver.Module != module.Path {
				continue
			}
			file.Entrypoints = append(file.Entrypoints, resolver.Entrypoint)
			if !inRego(read, resolver.Entrypoint) {
				file.Only = append(file.Only, resolver.Entrypoint)
			}
		}
		found = append(found, file)
	}
	return found
}

// inRego tells whether the rules of an entrypoint are still there. OPA takes out all those of exactly this path, and none
// where it is a package.
func inRego(read *bundle.Bundle, entrypoint string) bool {
	path, err := ast.PtrRef(ast.DefaultRootDocument, entrypoint)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(read.Modules, func(file bundle.ModuleFile) bool {
		pkg := file.Parsed.Package.Path
		return pkg.HasPrefix(path) || slices.ContainsFunc(file.Parsed.Rules, func(rule *ast.Rule) bool {
			return pkg.Extend(rule.Head.Ref().GroundPrefix()).Equal(path)
		})
	})
}

// archive gives OPA's reader the files of a request.
type archive struct {
	files []archivedFile
	next  int
}

func (a *archive) NextFile() (*bundle.Descriptor, error) {
	if a.next >= len(a.files) {
		return nil, io.EOF
	}
	file := a.files[a.next]
	a.next++
	return bundle.NewDescriptor(file.Path, file.Path, bytes.NewBuffer(file.Content)), nil
}

func (a *archive) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return a }
func (a *archive) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return a }
func (a *archive) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return a }
func (a *archive) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return a }
