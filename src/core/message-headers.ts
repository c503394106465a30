/** Lower-case names of HTTP headers that are about one message or one connection, and not about what is asked. */
export const MESSAGE_HEADERS: readonly string[] = [
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
