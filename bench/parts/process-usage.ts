import { readFile } from 'node:fs/promises';

/** Processor time of all threads of a process so far (proc_pid_stat(5), utime and stime, in steps of 10 ms). */
export async function cpuMsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Resident memory of a process, shared pages included (proc_pid_status(5), VmRSS). */
export async function residentMbOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'latin1');
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return (Number(kilobytes) * 1024) / 1e6;
}
