/** The thread of parseAside: parses the text it was started with, and answers once. */
import { parentPort as port, workerData } from 'node:worker_threads';
import { parseHere, type EntriesText } from './parse-aside.ts';

if (port === null) throw new Error('this file runs as a thread only');
port.postMessage(parseHere(workerData as EntriesText));
