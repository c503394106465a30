import type { InputNeeds } from '../../policy/index.ts';
import type { DecisionFacts } from '../records/decision-facts.ts';
import type { RecordedPaths } from '../records/decision-record.ts';
import { pickInput } from '../replay/pick-input.ts';
import { knownInput, type KnownInput } from './known-input.ts';
import { decodeEntry, loggedRequest } from './logged-request.ts';
import type { OffloadedFacts } from './offloaded-facts.ts';

type Path = readonly (string | number)[];

export interface ExpandedFacts {
  readonly facts: DecisionFacts;
  /** JSON text of what is known of the input, in UTF-8. */
  readonly input?: Uint8Array;
}

/**
 * The facts of a request that Envoy answered by itself, as those of a check would be. Throws what decodeEntry throws.
 * @param entry of the access log
 */
export function expandOffloaded(
  facts: DecisionFacts & { readonly offloaded: OffloadedFacts },
  entry: Uint8Array,
): ExpandedFacts {
  const { evaluated, offloaded, ...rest } = facts;
  const decoded = decodeEntry(entry);
  const { verifiesPeer } = offloaded;
  const request = loggedRequest(decoded, { verifiesPeer, now: facts.at });
  const own = {
    ...rest,
    at: request.at ?? facts.at,
    request: request.facts,
    ...(request.spiffeId === undefined ? {} : { envoyPeer: request.spiffeId }),
  };
  if (evaluated === undefined || !offloaded.knowsPolicy) return { facts: { ...own, offloaded } };
  const known = knownInput(decoded, request, { policy: facts.policy, callerIds: facts.callerIds ?? [] });
  const { document, recorded, missing } = partOf(known, evaluated.recorded);
  return {
    facts: { ...own, offloaded: { ...offloaded, missing }, evaluated: { ...evaluated, recorded } },
    input: new TextEncoder().encode(JSON.stringify(document)),
  };
}

/** What is known of what the policy could look at. */
function partOf(
  { document, known }: KnownInput,
  wanted: RecordedPaths,
): { readonly document: object; readonly recorded: RecordedPaths; readonly missing: readonly string[] } {
  if (wanted === 'all') return { document, recorded: known, missing: ['/input'] };
  const recorded: Path[] = [];
  const missing: string[] = [];
  for (const path of wanted) {
    if (known.some((each) => startsWith(path, each))) recorded.push(path);
    else missing.push(pointerOf(path));
  }
  return { document: pickInput(document, needsOf(recorded)) as object, recorded, missing };
}

/** The paths as a tree. */
function needsOf(paths: readonly Path[]): InputNeeds {
  if (paths.some((path) => path.length === 0)) return 'all';
  const heads = Map.groupBy(paths, ([head = '']) => head);
  return new Map([...heads].map(([head, below]) => [head, needsOf(below.map((path) => path.slice(1)))]));
}

function startsWith(path: Path, start: Path): boolean {
  return start.length <= path.length && start.every((key, index) => key === path[index]);
}

function pointerOf(path: Path): string {
  return ['/input', ...path.map((key) => String(key).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/');
}
