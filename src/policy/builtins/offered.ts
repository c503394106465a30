/** All builtins that every policy may call. */
export const OFFERED_BUILTINS: readonly string[] = [
  // operators, and what the compiler makes of the language
  'and assign div eq equal gt gte internal.member_2 internal.member_3 internal.print internal.template_string',
  'lt lte minus mul neq or plus print rego.metadata.chain rego.metadata.rule rego.parse_module rem trace',
  // numbers, bits, aggregates
  'abs bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor ceil count floor format_int max min numbers.range',
  'numbers.range_step product rand.intn round sort sum to_number units.parse units.parse_bytes',
  // types
  'is_array is_boolean is_null is_number is_object is_set is_string type_name',
  // arrays, sets, objects, documents
  'array.concat array.flatten array.reverse array.slice graph.reachable graph.reachable_paths intersection',
  'json.filter json.is_valid json.marshal json.marshal_with_options json.match_schema json.patch json.remove',
  'json.unmarshal json.verify_schema object.filter object.get object.keys object.remove object.subset object.union',
  'object.union_n union walk yaml.is_valid yaml.marshal yaml.unmarshal',
  // strings, patterns, encodings
  'base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad',
  'concat contains endswith glob.match glob.quote_meta hex.decode hex.encode indexof indexof_n lower',
  'regex.find_all_string_submatch_n regex.find_n regex.globs_match regex.is_valid regex.match regex.replace',
  'regex.split regex.template_match replace semver.compare semver.is_valid split sprintf startswith',
  'strings.any_prefix_match strings.any_suffix_match strings.count strings.render_template strings.replace_n',
  'strings.reverse strings.split_n substring trim trim_left trim_prefix trim_right trim_space trim_suffix upper',
  'uri.is_valid uri.parse urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object',
  'uuid.parse uuid.rfc4122',
  // time
  'time.add_date time.clock time.date time.diff time.format time.now_ns time.parse_duration_ns time.parse_ns',
  'time.parse_rfc3339_ns time.weekday',
  // networks, GraphQL
  'graphql.is_valid graphql.parse graphql.parse_and_verify graphql.parse_query graphql.parse_schema',
  'graphql.schema_is_valid net.cidr_contains net.cidr_contains_matches net.cidr_expand net.cidr_intersects',
  'net.cidr_is_valid net.cidr_merge providers.aws.sign_req',
  // cryptography, tokens
  'crypto.hmac.equal crypto.hmac.md5 crypto.hmac.sha1 crypto.hmac.sha256 crypto.hmac.sha512 crypto.md5',
  'crypto.parse_private_keys crypto.sha1 crypto.sha256 crypto.x509.parse_and_verify_certificates',
  'crypto.x509.parse_and_verify_certificates_with_options crypto.x509.parse_certificate_request',
  'crypto.x509.parse_certificates crypto.x509.parse_keypair crypto.x509.parse_rsa_private_key',
  'io.jwt.decode io.jwt.decode_verify io.jwt.encode_sign io.jwt.encode_sign_raw io.jwt.verify_eddsa',
  'io.jwt.verify_es256 io.jwt.verify_es384 io.jwt.verify_es512 io.jwt.verify_hs256 io.jwt.verify_hs384',
  'io.jwt.verify_hs512 io.jwt.verify_ps256 io.jwt.verify_ps384 io.jwt.verify_ps512 io.jwt.verify_rs256',
  'io.jwt.verify_rs384 io.jwt.verify_rs512',
].flatMap((line) => line.split(' '));

/**
 * Offered builtins that OPA would compile into the WASM module, where they answer otherwise than in OPA itself: the
 * compiler makes the module ask the host for them.
 */
export const REDIRECTED_BUILTINS: readonly string[] = [
  'bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor',
  'abs ceil div floor format_int minus mul plus product rem round sum to_number',
  'array.slice base64.decode base64.is_valid base64url.decode concat json.filter json.is_valid json.marshal json.remove json.unmarshal',
  'glob.match net.cidr_contains net.cidr_intersects object.union_n regex.find_all_string_submatch_n regex.is_valid',
  'indexof regex.match replace substring',
].flatMap((line) => line.split(' '));

/** What the module calls a redirected builtin: see tools/rego-compiler. */
export const REDIRECTED_PREFIX = 'host.';

/** Those that ask others; offered where the configuration says whom. */
export const NETWORK_BUILTINS: readonly string[] = ['http.send', 'net.lookup_ip_addr'];

/** What policies may call. */
export function offeredBuiltins(asksNetwork: boolean): readonly string[] {
  return asksNetwork ? [...OFFERED_BUILTINS, ...NETWORK_BUILTINS] : OFFERED_BUILTINS;
}

/** Those whose answer is not given by the arguments alone: they depend on the clock or on chance. */
export const NON_DETERMINISTIC_BUILTINS: readonly string[] = [
  'crypto.x509.parse_and_verify_certificates',
  'crypto.x509.parse_and_verify_certificates_with_options',
  'http.send',
  'io.jwt.decode_verify',
  'io.jwt.encode_sign',
  'io.jwt.encode_sign_raw',
  'net.lookup_ip_addr',
  'rand.intn',
  'time.now_ns',
  'uuid.rfc4122',
];

const ASKS_NOBODY = 'authz.http_send turns it on; better, put what a decision needs into data';

/** Builtins left out on purpose unless they are turned on, and why; the compiler tells the author. */
export const WITHHELD_BUILTINS: Readonly<Record<string, string>> = {
  'http.send': ASKS_NOBODY,
  'net.lookup_ip_addr': ASKS_NOBODY,
  'opa.runtime': 'a policy does not see the environment of the server, and would take what is not there for unset',
};
