import { systemClock } from '../../src/core/index.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { createRegoProgram } from '../../src/policy/rego-program.ts';

/** OPA's compiler, which on a busy machine may take longer than a server would wait. */
export const patientProgram = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });
export const patientCompiler = createRegoCompiler({ clock: systemClock, program: patientProgram });
