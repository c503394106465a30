import { eachField, Fields, MAX_FIELDS, readVarint } from '../../proto/index.ts';

/** What an RBAC filter of ours said of a request. */
export interface LoggedDecision {
  readonly policy: string;
  readonly outcome: 'allow' | 'deny';
  /** The rule that allowed it. */
  readonly rule?: string;
}

export interface ScannedEntry {
  readonly decisions: readonly LoggedDecision[];
  /** Whether the request has ended: each has one such entry. */
  readonly isLast: boolean;
  /** When the request came, epoch milliseconds; 0 where it is missing. */
  readonly startedAt: number;
}

// Numbers of fields in data/accesslog/v3, config/core/v3 and google/protobuf/struct.
const COMMON = 1;
const START_TIME = 5;
const METADATA = 17;
const LOG_TYPE = 33;
const FILTER_METADATA = 1;
const KEY = 1;
const VALUE = 2;
const STRUCT_FIELDS = 1;
const STRING_VALUE = 3;
const DOWNSTREAM_END = 6;

const MAX_TEXTS = 64;
const MAX_NAME = 256;
const NAME = /^svidgate_(?<policy>.+)_(?<what>shadow_engine_result|shadow_effective_policy_id|enforced_engine_result)$/;

/** Of an entry, what our filters said, without decoding the rest. Undefined for bytes that are no entry. */
export function scanEntry(bytes: Uint8Array, filter: string): ScannedEntry | undefined {
  const found: Found = { type: 0, startedAt: 0, metadata: [] };
  const fields = new Fields(bytes, 0, bytes.length);
  for (let count = 0; fields.next(); count += 1) {
    if (count === MAX_FIELDS) return undefined;
    if (fields.field === COMMON && !readCommon({ bytes, from: fields.from, to: fields.to }, found)) return undefined;
  }
  const decisions = fields.isWhole ? decisionsIn(bytes, found.metadata, filter) : undefined;
  if (decisions === undefined) return undefined;
  return { decisions, isLast: found.type === 0 || found.type === DOWNSTREAM_END, startedAt: found.startedAt };
}

interface Found {
  type: number;
  startedAt: number;
  /** All parts of it. */
  readonly metadata: Range[];
}

type Range = readonly [from: number, to: number];

/** False for bytes that are no such message. */
function readCommon({ bytes, from, to }: Part, found: Found): boolean {
  const fields = new Fields(bytes, from, to);
  for (let count = 0; fields.next(); count += 1) {
    if (count === MAX_FIELDS) return false;
    if (fields.field === LOG_TYPE) found.type = readVarint(bytes, { at: fields.from });
    else if (fields.field === START_TIME) found.startedAt = timeIn(bytes, fields.from, fields.to);
    else if (fields.field === METADATA) found.metadata.push([fields.from, fields.to]);
  }
  return fields.isWhole;
}

/** By filter, and by the bytes of the metadata: they are the same for all requests that met the same rules. */
const KNOWN = new Map<string, Map<string, readonly LoggedDecision[]>>();
const MAX_KNOWN = 1000;
/** Longer ones hold something of the request, and are not the same. */
const MAX_KNOWN_BYTES = 512;

/** Undefined for bytes that are no metadata. */
function decisionsIn(
  bytes: Uint8Array,
  metadata: readonly Range[],
  filter: string,
): readonly LoggedDecision[] | undefined {
  const [[from, to] = [0, 0]] = metadata;
  if (metadata.length !== 1 || to - from > MAX_KNOWN_BYTES) return readDecisions(bytes, metadata, filter);
  let ofFilter = KNOWN.get(filter);
  if (ofFilter === undefined) KNOWN.set(filter, (ofFilter = new Map()));
  const key = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
  const known = ofFilter.get(key);
  if (known !== undefined) return known;
  const decisions = readDecisions(bytes, metadata, filter);
  if (ofFilter.size >= MAX_KNOWN) ofFilter.clear();
  if (decisions !== undefined) ofFilter.set(key, decisions);
  return decisions;
}

function readDecisions(
  bytes: Uint8Array,
  metadata: readonly Range[],
  filter: string,
): readonly LoggedDecision[] | undefined {
  const texts = new Map<string, string>();
  const isWhole = metadata.every(([from, to]) => textsOf({ bytes, from, to }, filter, texts));
  return isWhole ? decisionsOf(texts) : undefined;
}

function timeIn(bytes: Uint8Array, from: number, to: number): number {
  let [seconds, nanos] = [0, 0];
  eachField(bytes, [from, to], (field, start) => {
    if (field === 1) seconds = readVarint(bytes, { at: start });
    else if (field === 2) nanos = readVarint(bytes, { at: start });
  });
  return seconds * 1000 + Math.floor(nanos / 1e6);
}

interface Part {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

/** The texts that one filter wrote, of those with a name like ours. */
function textsOf({ bytes, from, to }: Part, filter: string, texts: Map<string, string>): boolean {
  let isWhole = true;
  const pair = (start: number, end: number): { key: string; value: readonly [number, number] | undefined } => {
    let key = '';
    let value: readonly [number, number] | undefined;
    const fits = eachField(bytes, [start, end], (field, at, until) => {
      if (field === KEY) key = textIn(bytes, at, until);
      else if (field === VALUE) value = [at, until];
    });
    isWhole &&= fits;
    return { key, value };
  };
  const fits = eachField(bytes, [from, to], (field, start, end) => {
    if (field !== FILTER_METADATA) return;
    const { key, value } = pair(start, end);
    if (key !== filter || value === undefined) return;
    const isStruct = eachField(bytes, value, (inner, at, until) => {
      if (inner !== STRUCT_FIELDS || texts.size >= MAX_TEXTS) return;
      const member = pair(at, until);
      if (!member.key.startsWith('svidgate_') || member.value === undefined) return;
      const isValue = eachField(bytes, member.value, (kind, textAt, textEnd) => {
        if (kind === STRING_VALUE) texts.set(member.key, textIn(bytes, textAt, textEnd));
      });
      isWhole &&= isValue;
    });
    isWhole &&= isStruct;
  });
  return fits && isWhole;
}

/** Names are ours, in ASCII; what is longer is none. */
function textIn(bytes: Uint8Array, from: number, to: number): string {
  return to - from > MAX_NAME ? '' : Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}

function decisionsOf(texts: ReadonlyMap<string, string>): readonly LoggedDecision[] {
  const decisions: LoggedDecision[] = [];
  for (const [key, text] of texts) {
    const { policy, what } = partsOf(key);
    if (what === 'shadow_engine_result' && text === 'allowed') {
      // Refused all the same: what one rule allows, another part of the same filter can only have refused by mistake.
      if (texts.get(`svidgate_${policy}_enforced_engine_result`) === 'denied') continue;
      const rule = texts.get(`svidgate_${policy}_shadow_effective_policy_id`);
      decisions.push({ policy, outcome: 'allow', ...(rule === undefined ? {} : { rule }) });
    } else if (what === 'enforced_engine_result' && text === 'denied') {
      decisions.push({ policy, outcome: 'deny' });
    }
  }
  return decisions;
}

interface NameParts {
  readonly policy: string;
  readonly what: string | undefined;
}

/** The same few names stand in each entry. */
const PARTS = new Map<string, NameParts>();
const MAX_PARTS = 500;

function partsOf(key: string): NameParts {
  const known = PARTS.get(key);
  if (known !== undefined) return known;
  const { policy = '', what } = NAME.exec(key)?.groups ?? {};
  if (PARTS.size < MAX_PARTS) PARTS.set(key, { policy, what });
  return { policy, what };
}
