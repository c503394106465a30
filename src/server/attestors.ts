import {
  createDockerAttestor,
  createKubernetesAttestor,
  createSystemdAttestor,
  createUnixAttestor,
  type WorkloadAttestor,
} from '../attestation/index.ts';
import type { AttestationConfig } from '../config/index.ts';
import type { Clock } from '../core/index.ts';

/** unix, and whatever else the configuration switches on. */
export function createAttestors(config: AttestationConfig, clock: Clock): readonly WorkloadAttestor[] {
  const { unix, systemd, docker, kubernetes } = config;
  return [
    createUnixAttestor(unix),
    ...(systemd === undefined ? [] : [createSystemdAttestor(systemd)]),
    ...(docker === undefined ? [] : [createDockerAttestor(docker)]),
    ...(kubernetes === undefined ? [] : [createKubernetesAttestor({ ...kubernetes, clock })]),
  ];
}
