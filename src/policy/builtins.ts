/**
 * The builtins that a policy may call: those that OPA compiles into the WASM module itself, but for the ones withheld
 * below.
 */
export const OFFERED_BUILTINS: readonly string[] = [
  // operators, and what the compiler makes of the language
  'and assign div eq equal gt gte internal.member_2 internal.member_3 internal.print internal.template_string',
  'lt lte minus mul neq or plus print rem',
  // numbers, bits, aggregates
  'abs bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor ceil count floor format_int max min numbers.range',
  'product round sort sum to_number',
  // types
  'is_array is_boolean is_null is_number is_object is_set is_string type_name',
  // arrays, sets, objects, documents
  'array.concat array.flatten array.reverse array.slice graph.reachable intersection json.filter',
  'json.marshal json.remove object.filter object.get object.keys object.remove object.union object.union_n union walk',
  // strings, patterns, encodings
  'base64.encode base64url.encode concat contains endswith glob.match indexof lower',
  'regex.find_all_string_submatch_n regex.is_valid regex.match replace split startswith strings.replace_n',
  'strings.reverse substring trim trim_left trim_prefix trim_right trim_space trim_suffix upper',
].flatMap((line) => line.split(' '));

/** The ones of them that the host gives: a module that imports any other is refused. */
export const HOST_BUILTINS: ReadonlySet<string> = new Set();

const DIFFERS = 'its WASM form answers otherwise than OPA does:';

/** Builtins left out on purpose, and why; the compiler tells the author. */
export const WITHHELD_BUILTINS: Readonly<Record<string, string>> = {
  'base64.decode': `${DIFFERS} it takes text without padding`,
  'base64.is_valid': `${DIFFERS} it takes text without padding`,
  'base64url.decode': `${DIFFERS} it takes text with wrong padding`,
  'http.send': 'a decision asks nobody else; put what it needs into data',
  'json.is_valid': `${DIFFERS} it takes text that goes on after the value`,
  'json.unmarshal': `${DIFFERS} it takes text that goes on after the value`,
  'net.cidr_contains': `${DIFFERS} it does not see ::ffff:10.0.0.1 as 10.0.0.1, so that it passes by an IPv4 list`,
  'net.cidr_intersects': `${DIFFERS} it does not see IPv4-mapped IPv6 addresses as IPv4`,
  'net.cidr_overlap': `${DIFFERS} it does not see IPv4-mapped IPv6 addresses as IPv4`,
  'net.lookup_ip_addr': 'a decision asks nobody else; put what it needs into data',
  sprintf: `${DIFFERS} it formats composite values, large numbers and verbs of another type in its own way; use concat`,
  'opa.runtime': 'a policy does not see the environment of the server',
};
