import { closeSync } from 'node:fs';
import koffi, { type LibraryHandle } from 'koffi';
import { SvidgateError } from '../core/index.ts';

/** What the kernel says of the process that connected (unix(7), SO_PEERCRED). */
export interface PeerCredentials {
  /** 0 when the process is outside of our pid namespace. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** The few system calls that Node does not offer. */
export interface Kernel {
  /** Throws when the descriptor is no connected Unix socket. */
  peerCredentials(socket: number): PeerCredentials;
  /** A pidfd of the peer (SO_PEERPIDFD, Linux 6.5), or undefined on an older kernel. Throws when the peer has ended. */
  peerPidfd(socket: number): number | undefined;
  /** A pidfd of a process, or undefined on a kernel without (before Linux 5.3). Throws `not_found` when there is none. */
  processPidfd(pid: number): number | undefined;
  /** Which of the pidfds belong to processes that have ended. One system call for all, without waiting. */
  endedProcesses(pidfds: readonly number[]): ReadonlySet<number>;
}

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const POLLIN = 1;
/** The same number on every architecture. */
const SYS_PIDFD_OPEN = 434;
const UCRED_BYTES = 12;
const POLLFD_BYTES = 8;
const NO_ID = 0xffffffff;

/** Binds the C library. Linux only. */
export function openKernel(): Kernel {
  const libc = koffi.load(null);
  const getsockopt = libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
  const socketpair = libc.func('int socketpair(int domain, int type, int protocol, void *pair)');
  const poll = libc.func('int poll(void *fds, unsigned long count, int timeout)');
  const syscall = libc.func('long syscall(long number, ...)');

  const readOption = (socket: number, option: number, bytes: number): Buffer | undefined => {
    const value = Buffer.alloc(bytes);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes);
    const failed = Number(getsockopt(socket, SOL_SOCKET, option, value, length)) !== 0;
    return failed || length.readUInt32LE() !== bytes ? undefined : value;
  };

  const peerPidfd = (socket: number): number | undefined => readOption(socket, SO_PEERPIDFD, 4)?.readInt32LE();
  // Asked once, of a peer that surely lives: later a missing pidfd means that the peer has ended, and falling back to
  // its pid would take the next process with that number for it.
  const hasPeerPidfd = withSocketPair(socketpair, (socket) => {
    const pidfd = peerPidfd(socket);
    if (pidfd !== undefined) closeSync(pidfd);
    return pidfd !== undefined;
  });

  return {
    peerCredentials(socket) {
      const credentials = readOption(socket, SO_PEERCRED, UCRED_BYTES);
      if (credentials === undefined) throw new Error('SO_PEERCRED gave no credentials');
      const [pid, uid, gid] = [credentials.readInt32LE(0), credentials.readUInt32LE(4), credentials.readUInt32LE(8)];
      // A socket that was never connected answers with -1; that is no user.
      if (uid === NO_ID || gid === NO_ID || pid < 0) throw new Error('SO_PEERCRED gave no credentials');
      return { pid, uid, gid };
    },
    peerPidfd(socket) {
      const pidfd = hasPeerPidfd ? peerPidfd(socket) : undefined;
      if (hasPeerPidfd && pidfd === undefined) throw new Error('SO_PEERPIDFD gave no pidfd: the process has ended');
      return pidfd;
    },
    processPidfd(pid) {
      const pidfd = Number(syscall(SYS_PIDFD_OPEN, 'int', pid, 'unsigned int', 0));
      if (pidfd >= 0) return pidfd;
      const { ENOSYS, ESRCH, EINVAL } = koffi.os.errno;
      const error = koffi.errno();
      if (error === ENOSYS) return undefined;
      // EINVAL: no number of a process, or that of a thread.
      if (error === ESRCH || error === EINVAL) throw new SvidgateError('not_found', `there is no process ${pid}`);
      throw new Error(`pidfd_open failed with error ${error}`);
    },
    endedProcesses(pidfds) {
      const table = Buffer.alloc(pidfds.length * POLLFD_BYTES);
      pidfds.forEach((pidfd, index) => {
        table.writeInt32LE(pidfd, index * POLLFD_BYTES);
        table.writeInt16LE(POLLIN, index * POLLFD_BYTES + 4);
      });
      while (pidfds.length > 0 && Number(poll(table, pidfds.length, 0)) < 0) {
        // A signal can come in between, a profiler's above all.
        if (koffi.errno() !== koffi.os.errno['EINTR']) throw new Error('poll failed');
      }
      // Any event at all, an error too, counts as ended: a descriptor that cannot be watched proves nothing.
      return new Set(pidfds.filter((_, index) => table.readInt16LE(index * POLLFD_BYTES + 6) !== 0));
    },
  };
}

function withSocketPair<T>(socketpair: ReturnType<LibraryHandle['func']>, use: (socket: number) => T): T {
  const pair = Buffer.alloc(8);
  if (Number(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) !== 0) throw new Error('socketpair failed');
  const [one, other] = [pair.readInt32LE(0), pair.readInt32LE(4)];
  try {
    return use(one);
  } finally {
    closeSync(one);
    closeSync(other);
  }
}
