/** Nobody's user id on every Linux. */
const NOBODY = 65_534;

/** Does the work with the rights of a user that owns nothing, where we are root; as ourselves elsewhere. */
export async function withoutPrivilege<T>(work: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}
