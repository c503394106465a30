/**
 * server: the composition root: configuration in, running server out.
 * Promises: what cannot start leaves nothing behind; stopping ends streams before what they stand on. Everything is
 * put together here and nowhere else.
 */
export { restoreBackup, type RestoredBackup } from './restore-backup.ts';
export { startServer, type RunningServer } from './start-server.ts';
