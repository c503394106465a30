/** `x-forwarded-client-cert` headers: what a gateway says of its client, and what others say in its name. */
import { hashOf, id, type People } from './people.ts';

export interface HopHeader {
  readonly name: string;
  readonly text: string;
  /** The client, where the peer is the gateway and verified; absent when nobody may believe it. */
  readonly client?: string;
}

export const SIDECAR = id('sidecar');
const GATEWAY = id('gateway');
const CLIENT = id('client');
const HASH = 'a'.repeat(64);

export function makeHopHeaders(people: People): ReadonlyMap<string, HopHeader> {
  const gateway = people.credentials.get('gateway')!;
  const mallory = people.credentials.get('mallory')!;
  const good = `By=${GATEWAY};Hash=${HASH};Subject="CN=a,b;c";URI=${CLIENT}`;
  const own = `By=${SIDECAR};Hash=${hashOf(gateway)};Subject="";URI=${GATEWAY}`;
  const headers: readonly HopHeader[] = [
    { name: 'good', text: good, client: CLIENT },
    { name: 'good, and our own', text: `${good},${own}`, client: CLIENT },
    { name: 'another client', text: good.replace('/client', '/alice'), client: id('alice') },
    { name: 'another writer', text: good.replace('/gateway', '/mallory') },
    { name: 'nobody wrote it', text: `URI=${CLIENT}` },
    { name: 'two writers', text: `By=${GATEWAY};By=${id('mallory')};URI=${CLIENT}` },
    { name: 'two URIs', text: `By=${GATEWAY};URI=${CLIENT};URI=${id('bob')}` },
    { name: 'before a genuine one', text: `By=${id('mallory')};URI=${CLIENT},By=${GATEWAY};URI=${id('bob')}` },
    { name: 'twice in its name', text: `${good},By=${GATEWAY};URI=${id('bob')}` },
    { name: 'open quote', text: `By=${GATEWAY};Subject="x;URI=${CLIENT}` },
    { name: 'in a quote', text: `By=${GATEWAY};Subject="URI=${CLIENT}";URI=${id('bob')}` },
    { name: 'the hash of another', text: `By=${GATEWAY};Hash=${HASH};Cert="${mallory.text}";URI=${CLIENT}` },
    { name: 'our own for another', text: own.replace('URI=spiffe://example.test/gateway', `URI=${CLIENT}`) },
    { name: 'a trust domain', text: `By=${GATEWAY};URI=spiffe://example.test` },
    { name: 'commas', text: ',,,,' },
    { name: 'keys without values', text: 'By;URI;Hash' },
    { name: 'long', text: `${good};DNS=${'x'.repeat(70_000)}`, client: CLIENT },
  ];
  return new Map(headers.map((header) => [header.name, header]));
}
