import { SvidgateError } from '../../core/index.ts';
import { invalidField, numberField } from './request-fields.ts';

/** What of a list is asked for. */
export interface PageRequest {
  /** 0 for the default. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export interface PageOptions<T> {
  /** Unique; the list is sorted by it, in the order of code units. */
  readonly keyOf: (item: T) => string;
  /** Bytes, about. A page ends before it has more than MAX_PAGE_BYTES, but has one item at least. Default 0. */
  readonly sizeOf?: (item: T) => number;
}

const DEFAULT_PAGE_SIZE = 500;
const MAX_PAGE_SIZE = 1000;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const MAX_TOKEN_LENGTH = 4096;

/**
 * One page of a sorted list. The token holds the last key, so that a list that changes between two pages repeats nothing and
 * leaves nothing out that was there all the time. Throws `invalid_request`.
 */
export function pageOf<T>(items: readonly T[], request: PageRequest, options: PageOptions<T>): Page<T> {
  const size = numberField('page_size', request.pageSize, { min: 0, max: MAX_PAGE_SIZE }) || DEFAULT_PAGE_SIZE;
  const start = request.pageToken === '' ? 0 : firstAfter(items, readToken(request.pageToken), options.keyOf);
  let end = start;
  let bytes = 0;
  while (end < items.length && end - start < size) {
    const item = items[end] as T;
    bytes += options.sizeOf?.(item) ?? 0;
    if (bytes > MAX_PAGE_BYTES && end > start) break;
    end += 1;
  }
  const last = items[end - 1];
  const nextPageToken = end < items.length && last !== undefined ? writeToken(options.keyOf(last)) : '';
  return { items: items.slice(start, end), nextPageToken };
}

/** A copy in the order of the keys. */
export function sortedBy<T>(items: readonly T[], keyOf: (item: T) => string): readonly T[] {
  return items.toSorted((a, b) => {
    const [one, other] = [keyOf(a), keyOf(b)];
    if (one === other) return 0;
    return one < other ? -1 : 1;
  });
}

function firstAfter<T>(items: readonly T[], key: string, keyOf: (item: T) => string): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keyOf(items[middle] as T) <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function writeToken(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url');
}

function readToken(token: string): string {
  const problem = 'expected the next_page_token of the page before';
  if (token.length > MAX_TOKEN_LENGTH || !/^[A-Za-z0-9_-]+$/.test(token)) throw invalidField('page_token', problem);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(token, 'base64url'));
  } catch (cause) {
    throw new SvidgateError('invalid_request', `page_token: ${problem}`, { cause });
  }
}
