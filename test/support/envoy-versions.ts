import { envoyPath, olderEnvoyPath } from '../../tools/setup/paths.mjs';

/** An Envoy that tests run on. */
export interface EnvoyVersion {
  readonly name: string;
  /** Undefined where set-up could not get it. */
  readonly path: string | undefined;
  /** For the option of a test: why it cannot run, else false. */
  readonly skip: string | false;
}

/** The newest and the oldest that svidgate is tried with. */
export function envoyVersions(): readonly EnvoyVersion[] {
  const older = olderEnvoyPath();
  return [
    { name: 'Envoy 1.40', path: envoyPath(), skip: false },
    { name: 'Envoy 1.36', path: older, skip: older === undefined && 'needs Envoy 1.36: set-up found none' },
  ];
}
