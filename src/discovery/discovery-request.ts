import { SvidgateError } from '../core/index.ts';
import { decodeMessage, DeltaDiscoveryRequest, DiscoveryRequest, type Node, type Status } from '../proto/index.ts';
import type { NameLimit } from './caller-limits.ts';
import type { DeltaRequest } from './delta-session.ts';
import { parseFlag, type EnvoyNode } from './envoy-node.ts';
import { lastText, tallyField } from './request-tally.ts';
import type { SotwRequest } from './sotw-session.ts';

/** Envoy lists its thousand extensions in the first request: some 100 KiB. */
const MAX_REQUEST_BYTES = 1024 * 1024;
const MAX_REFUSAL_LENGTH = 512;
/** Of `node.id` and `node.cluster`, which are kept for as long as the stream lives. */
const MAX_NODE_TEXT_LENGTH = 256;
/** Ours have 16 characters. */
const MAX_VERSION_LENGTH = 64;
/** What an Envoy may say that it holds from an earlier stream: by the wildcard that can be more than it may ask for by name. */
const MAX_INITIAL_VERSIONS = 10_000;
/** Of their names together. What is beyond is sent anew. */
const MAX_INITIAL_LENGTH = 256 * 1024;

const MAX_TYPE_URL_BYTES = 256;

/** Numbers of fields that an Envoy can make long. */
const SOTW_NAMES = 3;
const DELTA_SUBSCRIBE = 3;
const DELTA_UNSUBSCRIBE = 4;
const DELTA_INITIAL_VERSIONS = 5;

export interface RequestRules {
  readonly typeUrl: string;
  /** Whether resources of other types could be asked for as well (ADS), so that the type must be said. */
  readonly isAggregated: boolean;
  readonly names: NameLimit;
}

/** Reads a DiscoveryRequest. Throws `invalid_request`, `too_large` or `overloaded`. */
export function readSotwRequest(bytes: Uint8Array, rules: RequestRules): SotwRequest {
  const { names } = rules;
  names.check(tallyField(bytes, SOTW_NAMES));
  const request = decodeMessage(DiscoveryRequest, bytes, MAX_REQUEST_BYTES);
  checkType(request.typeUrl, rules);
  return {
    names: withoutEmpty(request.resourceNames),
    versionInfo: request.versionInfo,
    responseNonce: request.responseNonce,
    refusal: refusalOf(request.errorDetail),
    node: readNode(request.node),
  };
}

/** Reads a DeltaDiscoveryRequest. Throws `invalid_request`, `too_large` or `overloaded`. */
export function readDeltaRequest(bytes: Uint8Array, rules: RequestRules): DeltaRequest {
  const { names } = rules;
  names.check(tallyField(bytes, DELTA_SUBSCRIBE));
  names.check(tallyField(bytes, DELTA_UNSUBSCRIBE));
  if (tallyField(bytes, DELTA_INITIAL_VERSIONS).count > MAX_INITIAL_VERSIONS) {
    throw new SvidgateError('invalid_request', `more than ${MAX_INITIAL_VERSIONS} initial_resource_versions`);
  }
  const request = decodeMessage(DeltaDiscoveryRequest, bytes, MAX_REQUEST_BYTES);
  checkType(request.typeUrl, rules);
  return {
    subscribe: withoutEmpty(request.resourceNamesSubscribe),
    unsubscribe: withoutEmpty(request.resourceNamesUnsubscribe),
    initialVersions: readInitialVersions(request.initialResourceVersions),
    responseNonce: request.responseNonce,
    refusal: refusalOf(request.errorDetail),
    node: readNode(request.node),
  };
}

/** A variant of xDS: the state of the world, or what has changed. */
export type Variant = 'sotw' | 'delta';

const TYPE_URL = { sotw: 4, delta: 2 } as const;

/** Of a request on a stream of several types; empty where it says none, or is no request. */
export function readTypeUrl(bytes: Uint8Array, variant: Variant): string {
  return lastText(bytes, TYPE_URL[variant], MAX_TYPE_URL_BYTES);
}

function readInitialVersions(versions: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const read = new Map<string, string>();
  let length = 0;
  for (const [name, version] of Object.entries(versions)) {
    length += name.length;
    if (length > MAX_INITIAL_LENGTH) break;
    read.set(name, version.length > MAX_VERSION_LENGTH ? 'not ours' : version);
  }
  return read;
}

function checkType(typeUrl: string, rules: RequestRules): void {
  if (typeUrl === rules.typeUrl || (typeUrl === '' && !rules.isAggregated)) return;
  throw new SvidgateError('invalid_request', `type_url must be ${rules.typeUrl}`);
}

/** The empty name means nothing beside others; alone it is no name. */
function withoutEmpty(names: readonly string[]): ReadonlySet<string> {
  const set = new Set(names);
  set.delete('');
  return set;
}

function refusalOf(error: Status | null): string | undefined {
  return error === null ? undefined : startOf(error.message, MAX_REFUSAL_LENGTH);
}

function readNode(node: Node | null): EnvoyNode | undefined {
  if (node === null) return undefined;
  const version = node.userAgentBuildVersion?.version;
  return {
    id: startOf(node.id, MAX_NODE_TEXT_LENGTH),
    cluster: startOf(node.cluster, MAX_NODE_TEXT_LENGTH),
    version:
      version === null || version === undefined
        ? undefined
        : { major: version.majorNumber, minor: version.minorNumber },
    disableSpiffeCertValidation: readFlag(node, 'disable_spiffe_cert_validation'),
  };
}

function readFlag({ metadata }: Node, name: string): boolean | undefined {
  if (metadata === null || !Object.hasOwn(metadata.fields, name)) return undefined;
  const value = metadata.fields[name];
  return parseFlag(value?.boolValue ?? value?.stringValue);
}

/** A copy: a slice would keep the whole text in memory, which can be as long as a message. */
function startOf(text: string, length: number): string {
  return text.length <= length ? text : Buffer.from(text.slice(0, length), 'utf8').toString('utf8');
}
