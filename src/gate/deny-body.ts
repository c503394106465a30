import { STATUS_CODES } from 'node:http';

/** In what form a client reads why it was denied. gRPC has its message in place of a body. */
export type BodyForm = 'json' | 'html' | 'text' | 'grpc';

/** The form that the client asks for; without a wish the form that it sends. */
export function bodyForm(headers: Readonly<Record<string, string>>): BodyForm {
  const sent = header(headers, 'content-type');
  // Envoy makes a gRPC status of the reply; a content type of ours would spoil it.
  if (sent.startsWith('application/grpc')) return 'grpc';
  for (const range of header(headers, 'accept').split(',', 20)) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) continue;
    if (type === 'application/json' || (type.startsWith('application/') && type.endsWith('+json'))) return 'json';
    if (type === 'text/html' || type === 'application/xhtml+xml') return 'html';
    if (type === 'text/plain') return 'text';
  }
  return sent.includes('json') ? 'json' : 'text';
}

export interface DenyBody {
  /** Absent where Envoy chooses it: for gRPC. */
  readonly contentType?: string;
  readonly text: string;
}

/** Says what the status says and nothing more, and how to find the record. */
export function denyBody(form: BodyForm, httpStatus: number, decisionId: string): DenyBody {
  const name = STATUS_CODES[httpStatus] ?? 'Denied';
  switch (form) {
    case 'json':
      return {
        contentType: 'application/json',
        text: JSON.stringify({ error: name, status: httpStatus, decision_id: decisionId }),
      };
    case 'html':
      return {
        contentType: 'text/html; charset=utf-8',
        text: `<!doctype html><title>${name}</title><h1>${httpStatus} ${name}</h1><p>Decision ${decisionId}</p>\n`,
      };
    case 'text':
      return { contentType: 'text/plain; charset=utf-8', text: `${httpStatus} ${name}\ndecision ${decisionId}\n` };
    case 'grpc':
      return { text: `${name}, decision ${decisionId}` };
  }
}

function header(headers: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(headers, name) ? (headers[name] ?? '').trimStart().toLowerCase() : '';
}
