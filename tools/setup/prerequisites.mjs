/**
 * What set-up can do nothing about itself: the system and the Node it runs on. Imports nothing, so that it can still
 * speak on a Node too old for the rest.
 */

/** Node from which the set-up itself runs. The project runs on 24, which set-up brings along. */
const OLDEST_NODE = 20;

/**
 * One line for each thing missing, in the form "needs X: found Y"; empty when all is well.
 * @param {{ platform: string, arch: string, nodeVersion: string }} [machine] the running one when absent
 * @returns {string[]}
 */
export function missingPrerequisites(machine) {
  const { platform, arch, nodeVersion } = machine || {
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.versions.node,
  };
  const missing = [];
  if (platform !== 'linux') missing.push(`needs Linux: found ${platform}`);
  if (arch !== 'x64' && arch !== 'arm64') missing.push(`needs a 64-bit x86 or ARM processor: found ${arch}`);
  if (!(Number(nodeVersion.split('.')[0]) >= OLDEST_NODE)) {
    missing.push(`needs Node ${OLDEST_NODE} or newer: found ${nodeVersion}`);
  }
  return missing;
}

/**
 * Ends the process with 2 when something is missing, after saying what.
 */
export function requirePrerequisites() {
  const missing = missingPrerequisites();
  for (const line of missing) console.error(`svidgate setup: ${line}`);
  if (missing.length > 0) process.exit(2);
}
