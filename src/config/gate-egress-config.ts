import { SvidgateError } from '../core/index.ts';
import { listField, sectionField, textField } from './fields.ts';

/** What policies may have put into requests that leave. */
export interface EgressConfig {
  /** Of JWT-SVIDs. */
  readonly audiences: ReadonlySet<string>;
}

const MAX_AUDIENCE = 2048;

/** The section `authz.egress`. */
export function egressSection() {
  const audience = textField({ description: 'One audience.', expected: 'a text of 1 to 2048 characters' }, (text) => {
    if (text === '' || text.length > MAX_AUDIENCE) {
      throw new SvidgateError('config_invalid', `expected a text of 1 to ${MAX_AUDIENCE} characters`);
    }
    return text;
  });
  return sectionField(
    {
      audiences: listField(audience, {
        description: 'For whom policies may have a JWT-SVID of the caller put into a request.',
        expected: 'a list such as [api.partner.test]',
        min: 1,
      }),
    },
    { description: 'JWT-SVIDs for requests that leave. Left out: no policy gets one.' },
  );
}

export function toEgressConfig(raw: { readonly audiences: readonly string[] } | undefined): {
  readonly egress?: EgressConfig;
} {
  return raw === undefined ? {} : { egress: { audiences: new Set(raw.audiences) } };
}
