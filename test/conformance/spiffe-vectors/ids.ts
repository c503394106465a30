import type { Vector } from './vector.ts';

const NO_LIMIT = 'it has no limit of its own';

/** SPIFFE IDs and trust domain names. */
export const ID_VECTORS: readonly Vector[] = [
  ...ids('SPIFFE-ID §2', true, {
    'a path of one segment': 'spiffe://example.test/orders',
    'a trust domain alone': 'spiffe://example.test',
  }),
  ...ids('SPIFFE-ID §2', false, {
    'nothing at all': '',
    'another scheme': 'https://example.test/orders',
    'a scheme in capitals': 'SPIFFE://example.test/orders',
    'no scheme': 'example.test/orders',
    'one slash': 'spiffe:/example.test/orders',
    'no slashes': 'spiffe:example.test/orders',
    'a query': 'spiffe://example.test/orders?a=b',
    'an empty query': 'spiffe://example.test/orders?',
    'a fragment': 'spiffe://example.test/orders#a',
    'an empty fragment': 'spiffe://example.test/orders#',
    'white space before it': ' spiffe://example.test/orders',
    'a line feed after it': 'spiffe://example.test/orders\n',
    'a NUL after it': 'spiffe://example.test/orders\0',
  }),
  ...ids('SPIFFE-ID §2.1', true, {
    'digits, dots, dashes and underscores in the trust domain': 'spiffe://a1-b_2.example/orders',
    'an IPv4 address as trust domain': 'spiffe://192.0.2.1/orders',
    'a trust domain of one character': 'spiffe://a/orders',
    'a trust domain of dots': 'spiffe://../orders',
    'a trust domain that begins with a dash': 'spiffe://-a-/orders',
    'a trust domain of 255 characters': `spiffe://${'a'.repeat(255)}/orders`,
  }),
  ...ids('SPIFFE-ID §2.1', false, {
    'no trust domain': 'spiffe://',
    'no trust domain before a path': 'spiffe:///orders',
    'capitals in the trust domain': 'spiffe://Example.test/orders',
    'a port': 'spiffe://example.test:443/orders',
    'an empty port': 'spiffe://example.test:/orders',
    'user information': 'spiffe://user@example.test/orders',
    'user information with a password': 'spiffe://user:password@example.test/orders',
    'an IPv6 address': 'spiffe://[2001:db8::1]/orders',
    'an escape in the trust domain': 'spiffe://ex%61mple.test/orders',
    'a letter beyond ASCII in the trust domain': 'spiffe://exämple.test/orders',
    'a look-alike letter in the trust domain': 'spiffe://exаmple.test/orders',
    'white space in the trust domain': 'spiffe://example .test/orders',
    'a star in the trust domain': 'spiffe://*.test/orders',
    'a back slash for the slash': 'spiffe://example.test\\orders',
  }),
  ...ids('SPIFFE-ID §2.2', true, {
    'several segments': 'spiffe://example.test/ns/prod/sa/orders',
    'every character of a segment': 'spiffe://example.test/aZ09.-_',
    'a segment of three dots': 'spiffe://example.test/...',
    'a segment that begins with a dot': 'spiffe://example.test/.orders',
  }),
  ...ids('SPIFFE-ID §2.2', false, {
    'a slash at the end': 'spiffe://example.test/orders/',
    'a slash alone': 'spiffe://example.test/',
    'an empty segment': 'spiffe://example.test/a//b',
    'an empty first segment': 'spiffe://example.test//orders',
    'a dot segment': 'spiffe://example.test/a/./b',
    'two dots': 'spiffe://example.test/a/../b',
    'a dot at the end': 'spiffe://example.test/a/.',
    'two dots at the end': 'spiffe://example.test/a/..',
    'an escape in the path': 'spiffe://example.test/%6frders',
    'an escaped slash': 'spiffe://example.test/a%2fb',
    'a letter beyond ASCII in the path': 'spiffe://example.test/größe',
    'a colon in the path': 'spiffe://example.test/a:b',
    'a tilde in the path': 'spiffe://example.test/~a',
    'a plus in the path': 'spiffe://example.test/a+b',
    'a star in the path': 'spiffe://example.test/*',
    'white space in the path': 'spiffe://example.test/a b',
    'a NUL in the path': 'spiffe://example.test/a\0b',
    'a line feed in the path': 'spiffe://example.test/a\nb',
  }),
  ...ids('SPIFFE-ID §2.3', true, {
    'the greatest length': `spiffe://example.test/${'a'.repeat(2048 - 'spiffe://example.test/'.length)}`,
  }),
  {
    ...id('SPIFFE-ID §2.3', false, 'one byte more', `spiffe://example.test/${'a'.repeat(2049 - 22)}`),
    otherwise: { goSpiffe: NO_LIMIT },
  },
  {
    ...id('SPIFFE-ID §2.1', false, 'a trust domain of 256 characters', `spiffe://${'a'.repeat(256)}/orders`),
    otherwise: { goSpiffe: NO_LIMIT },
  },
  ...names(true, { 'a name': 'example.test', 'one letter': 'a', 'an underscore': 'a_b' }),
  ...names(false, {
    'no name': '',
    'a name in capitals': 'Example.test',
    'a name with a port': 'example.test:443',
    'a name with a path': 'example.test/orders',
    'a name with white space': 'example.test ',
    'a name with an escape': 'ex%61mple.test',
  }),
  {
    ...names(false, { 'a SPIFFE ID for a name': 'spiffe://example.test' })[0]!,
    otherwise: { goSpiffe: 'this function of it also takes SPIFFE IDs' },
  },
];

function id(clause: string, accepts: boolean, name: string, text: string): Vector {
  return { name, clause, accepts, input: { kind: 'id', text } };
}

function ids(clause: string, accepts: boolean, texts: Readonly<Record<string, string>>): readonly Vector[] {
  return Object.entries(texts).map(([name, text]) => id(clause, accepts, name, text));
}

function names(accepts: boolean, texts: Readonly<Record<string, string>>): readonly Vector[] {
  return Object.entries(texts).map(([name, text]) => ({
    name: `as a trust domain name, ${name}`,
    clause: 'SPIFFE-ID §2.1',
    accepts,
    input: { kind: 'trust_domain', text },
  }));
}
