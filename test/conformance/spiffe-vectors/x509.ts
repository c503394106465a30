import * as x509 from '@peculiar/x509';
import { makeCa, makeLeaf, USAGE, type CertificateForm, type TestCa } from './certificates.ts';
import type { Vector } from './vector.ts';

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const NOT_SPIFFE = { openssl: 'it knows nothing of SPIFFE IDs' };
/** URI `.test`, as permitted subtree (RFC 5280 §4.2.1.10). */
const NAME_CONSTRAINTS = new x509.Extension('2.5.29.30', true, Buffer.from('300ba009300786052e74657374', 'hex'));

interface X509Case {
  readonly name: string;
  readonly clause: string;
  readonly accepts: boolean;
  readonly otherwise?: Vector['otherwise'];
  readonly leaf?: CertificateForm;
  /** Instead of a leaf under `root`. */
  readonly chain?: (root: TestCa) => Promise<readonly Uint8Array[]>;
  readonly root?: CertificateForm;
  readonly roots?: (root: TestCa) => Promise<Readonly<Record<string, readonly Uint8Array[]>>>;
}

const LEAVES: readonly X509Case[] = [
  { name: 'a leaf', clause: 'X509-SVID §2', accepts: true },
  { name: 'a DNS name beside the SPIFFE ID', clause: 'X509-SVID §2', accepts: true, leaf: { dnsNames: ['a.test'] } },
  { name: 'no SAN', clause: 'X509-SVID §2', accepts: false, leaf: { uris: [] }, otherwise: NOT_SPIFFE },
  {
    name: 'a DNS name alone',
    clause: 'X509-SVID §2',
    accepts: false,
    leaf: { uris: [], dnsNames: ['a.test'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'two SPIFFE IDs',
    clause: 'X509-SVID §2',
    accepts: false,
    leaf: { uris: ['spiffe://example.test/orders', 'spiffe://example.test/web'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'a second URI that is no SPIFFE ID',
    clause: 'X509-SVID §2',
    accepts: false,
    leaf: { uris: ['spiffe://example.test/orders', 'https://example.test/'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'the same SPIFFE ID twice',
    clause: 'X509-SVID §2',
    accepts: false,
    leaf: { uris: ['spiffe://example.test/orders', 'spiffe://example.test/orders'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'a URI of another scheme',
    clause: 'X509-SVID §5.2',
    accepts: false,
    leaf: { uris: ['https://example.test/orders'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'a SPIFFE ID without a path',
    clause: 'X509-SVID §5.2',
    accepts: false,
    leaf: { uris: ['spiffe://example.test'] },
    otherwise: { ...NOT_SPIFFE, goSpiffe: 'it does not ask for a path' },
  },
  {
    name: 'a SPIFFE ID that is not well formed',
    clause: 'SPIFFE-ID §2.2',
    accepts: false,
    leaf: { uris: ['spiffe://example.test/a//b'] },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'no subject, and a critical SAN',
    clause: 'X509-SVID §3.1',
    accepts: true,
    leaf: { subject: '' },
  },
  {
    name: 'a CA for a leaf',
    clause: 'X509-SVID §4.1',
    accepts: false,
    leaf: { isCa: true },
    otherwise: { openssl: 'a CA may be checked for any use' },
  },
  { name: 'no basic constraints', clause: 'X509-SVID §4.1', accepts: true, leaf: { isCa: null } },
  {
    name: 'keyCertSign in a leaf',
    clause: 'X509-SVID §5.2',
    accepts: false,
    leaf: { keyUsage: USAGE.digitalSignature | USAGE.keyCertSign },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'cRLSign in a leaf',
    clause: 'X509-SVID §5.2',
    accepts: false,
    leaf: { keyUsage: USAGE.digitalSignature | USAGE.cRLSign },
    otherwise: NOT_SPIFFE,
  },
  {
    name: 'no digitalSignature',
    clause: 'X509-SVID §4.3',
    accepts: false,
    leaf: { keyUsage: USAGE.keyEncipherment },
    otherwise: { goSpiffe: 'it asks only for what must not be set' },
  },
  {
    name: 'no key usage',
    clause: 'X509-SVID §4.3',
    accepts: false,
    leaf: { keyUsage: null },
    otherwise: { goSpiffe: 'it asks only for what must not be set', openssl: 'without the extension all is permitted' },
  },
  {
    name: 'extended key usage for both sides',
    clause: 'X509-SVID §4.4',
    accepts: true,
    leaf: { extendedKeyUsage: [SERVER_AUTH, CLIENT_AUTH] },
  },
  {
    name: 'extended key usage for servers alone, of a client',
    clause: 'X509-SVID §4.4',
    accepts: false,
    leaf: { extendedKeyUsage: [SERVER_AUTH] },
    otherwise: { goSpiffe: 'it takes any extended key usage' },
  },
  { name: 'past its end', clause: 'RFC 5280 §6.1.3', accepts: false, leaf: { notAfter: -60_000 } },
  { name: 'before its beginning', clause: 'RFC 5280 §6.1.3', accepts: false, leaf: { notBefore: 3600_000 } },
  {
    name: 'an unknown critical extension',
    clause: 'RFC 5280 §4.2',
    accepts: false,
    leaf: { extensions: [new x509.Extension('1.2.3.4', true, Buffer.from('0500', 'hex'))] },
  },
  {
    name: 'an unknown extension that is not critical',
    clause: 'RFC 5280 §4.2',
    accepts: true,
    leaf: { extensions: [new x509.Extension('1.2.3.4', false, Buffer.from('0500', 'hex'))] },
  },
];

const PATHS: readonly X509Case[] = [
  {
    name: 'an intermediate between leaf and root',
    clause: 'X509-SVID §5.1',
    accepts: true,
    chain: async (root) => await under(await makeCa({}, root)),
  },
  {
    name: 'an intermediate that is not presented',
    clause: 'X509-SVID §5.1',
    accepts: false,
    chain: async (root) => [await makeLeaf({}, await makeCa({}, root))],
  },
  {
    name: 'two intermediates in the wrong order',
    clause: 'RFC 8446 §4.4.2',
    accepts: true,
    chain: async (root) => {
      const upper = await makeCa({}, root);
      const lower = await makeCa({}, upper);
      return [await makeLeaf({}, lower), upper.der, lower.der];
    },
  },
  {
    name: 'a leaf that signs another one',
    clause: 'X509-SVID §3.2',
    accepts: false,
    chain: async (root) => await under(await makeCa({ isCa: false, keyUsage: USAGE.digitalSignature }, root)),
  },
  {
    name: 'an intermediate without keyCertSign',
    clause: 'X509-SVID §4.3',
    accepts: false,
    chain: async (root) => await under(await makeCa({ keyUsage: USAGE.cRLSign }, root)),
  },
  {
    name: 'an intermediate past its end',
    clause: 'RFC 5280 §6.1.3',
    accepts: false,
    chain: async (root) => await under(await makeCa({ notAfter: -60_000 }, root)),
  },
  {
    name: 'one intermediate more than pathLenConstraint allows',
    clause: 'X509-SVID §4.1',
    accepts: false,
    root: { pathLength: 0 },
    chain: async (root) => await under(await makeCa({}, root)),
  },
  {
    name: 'as many intermediates as pathLenConstraint allows',
    clause: 'X509-SVID §4.1',
    accepts: true,
    root: { pathLength: 1 },
    chain: async (root) => await under(await makeCa({}, root)),
  },
  {
    name: 'name constraints that permit the name',
    clause: 'X509-SVID §4.2',
    accepts: false,
    chain: async (root) => await under(await makeCa({ extensions: [NAME_CONSTRAINTS] }, root)),
    otherwise: { goSpiffe: 'it processes name constraints', openssl: 'it processes name constraints' },
  },
  {
    name: 'a root past its end',
    clause: 'RFC 5280 §6.1.3',
    accepts: false,
    root: { notAfter: -60_000 },
  },
  {
    name: 'a root without keyCertSign',
    clause: 'X509-SVID §3.2',
    accepts: false,
    root: { keyUsage: USAGE.cRLSign },
  },
  {
    name: 'a root of the same name with another key',
    clause: 'RFC 5280 §6.1.3',
    accepts: false,
    root: { subject: 'O=Same' },
    roots: async () => ({ 'example.test': [(await makeCa({ subject: 'O=Same' })).der] }),
  },
  {
    name: 'the second of two roots',
    clause: 'SPIFFE Trust Domain and Bundle §2',
    accepts: true,
    roots: async (root) => ({ 'example.test': [(await makeCa()).der, root.der] }),
  },
  {
    name: 'no roots for its trust domain',
    clause: 'SPIFFE Trust Domain and Bundle §3',
    accepts: false,
    roots: async (root) => ({ 'other.test': [root.der] }),
  },
  {
    name: "a root of another trust domain's bundle",
    clause: 'SPIFFE Trust Domain and Bundle §3',
    accepts: false,
    roots: async (root) => ({ 'example.test': [(await makeCa()).der], 'other.test': [root.der] }),
  },
  {
    name: 'an empty bundle',
    clause: 'X509-SVID §6.2',
    accepts: false,
    roots: async () => ({ 'example.test': [] }),
  },
  {
    name: 'the root itself presented as the leaf',
    clause: 'X509-SVID §3.2',
    accepts: false,
    chain: async (root) => [root.der],
  },
];

/** X.509-SVIDs and their paths; made when they are asked for, since they depend on the time. */
export async function x509Vectors(): Promise<readonly Vector[]> {
  return await Promise.all(
    [...LEAVES, ...PATHS].map(async ({ name, clause, accepts, otherwise, ...parts }): Promise<Vector> => {
      const root = await makeCa(parts.root);
      const chain = (await parts.chain?.(root)) ?? [await makeLeaf(parts.leaf ?? {}, root)];
      const roots = (await parts.roots?.(root)) ?? { 'example.test': [root.der] };
      const input = { kind: 'x509', chain, roots } as const;
      return { name, clause, accepts, input, ...(otherwise === undefined ? {} : { otherwise }) };
    }),
  );
}

/** A leaf and the intermediate that signed it. */
async function under(intermediate: TestCa): Promise<readonly Uint8Array[]> {
  return [await makeLeaf({}, intermediate), intermediate.der];
}
