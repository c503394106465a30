/** Pages whose commands depend on one another, and the test that runs them in their order. */
export const RUN_AS_A_WHOLE: ReadonlyMap<string, string> = new Map([
  ['README.md', 'test/docs/quick-start.test.ts'],
  ['docs/admin.md', 'test/docs/admin.test.ts'],
  ['docs/backup.md', 'test/docs/served-pages.test.ts'],
  ['docs/federation.md', 'test/docs/served-pages.test.ts'],
  ['docs/guide/policies.md', 'test/docs/policy-guide.test.ts'],
  ['docs/revocation.md', 'test/docs/served-pages.test.ts'],
  ['docs/upstream-authorities.md', 'test/docs/upstream-authorities.test.ts'],
  ['docs/workload-api.md', 'test/docs/served-pages.test.ts'],
  ['envoy-examples/ads/README.md', 'test/e2e/envoy-examples-tls.test.ts'],
  ['envoy-examples/credential-injector/README.md', 'test/e2e/envoy-examples-secrets.test.ts'],
  ['envoy-examples/delta-sds/README.md', 'test/e2e/envoy-examples-tls.test.ts'],
  ['envoy-examples/federated-all/README.md', 'test/e2e/envoy-examples-tls.test.ts'],
  ['envoy-examples/gate-mtls/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/ingress-gateway/README.md', 'test/e2e/envoy-examples-secrets.test.ts'],
  ['envoy-examples/istio-names/README.md', 'test/e2e/envoy-examples-secrets.test.ts'],
  ['envoy-examples/one-way-tls/README.md', 'test/e2e/envoy-examples-tls.test.ts'],
  ['envoy-examples/jwt-gateway/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/opa-migration/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/peer-matchers/README.md', 'test/e2e/envoy-examples-tls.test.ts'],
  ['envoy-examples/policy-per-route/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/session-tickets/README.md', 'test/e2e/envoy-examples-secrets.test.ts'],
  ['envoy-examples/shadow/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/sidecar-mesh/README.md', 'test/e2e/example-readme.test.ts'],
  ['envoy-examples/xfcc-one-hop/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
  ['envoy-examples/xfcc-two-hops/README.md', 'test/e2e/envoy-examples-gate.test.ts'],
]);

/** Commands that a test of code blocks cannot run itself: the script of package.json, and the test that runs it. */
export const COVERED_LINES: ReadonlyMap<string, { readonly script: string; readonly test: string }> = new Map([
  ['npm run setup', { script: 'setup', test: 'test/unit/setup/setup.test.ts' }],
  ['npm run demo', { script: 'demo', test: 'test/e2e/demo.test.ts' }],
  ['npm test', { script: 'test', test: 'test/unit/setup/test-runner.test.ts' }],
  ['npm test -- test/unit/policy', { script: 'test', test: 'test/unit/setup/test-runner.test.ts' }],
  ['npm run check', { script: 'check', test: 'test/unit/check/layers.test.ts' }],
  ['npm run generate', { script: 'generate', test: 'test/conformance/protos.test.ts' }],
]);
