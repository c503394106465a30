/** What one connection may send before it is read: with the default of 64 KiB, 128 checks at a time would wait for one another. */
export const CONNECTION_WINDOW_BYTES = 4 * 2 ** 20;

/** What one call may send before it is read. */
export const STREAM_WINDOW_BYTES = 256 * 1024;
