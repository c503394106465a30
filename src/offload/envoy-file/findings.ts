import type { Mistake } from '../../config/index.ts';
import type { EnvoyNode } from './envoy-node.ts';

/** What is found in files of Envoy, each finding once: an anchor is looked at as often as it is used. */
export class Findings {
  readonly #mistakes = new Map<string, Mistake>();
  readonly #notes = new Map<string, Mistake>();

  get mistakes(): readonly Mistake[] {
    return [...this.#mistakes.values()];
  }

  get notes(): readonly Mistake[] {
    return [...this.#notes.values()];
  }

  /** What makes the offload unsafe, or keeps it from working. */
  refuse(node: EnvoyNode, message: string, remedy: string): void {
    add(this.#mistakes, node.mistake(message, remedy));
  }

  /** What is not judged, or may not be meant. */
  note(node: EnvoyNode, message: string, remedy: string): void {
    add(this.#notes, node.mistake(message, remedy));
  }
}

function add(found: Map<string, Mistake>, mistake: Mistake): void {
  found.set(`${mistake.file} ${mistake.line} ${mistake.column} ${mistake.message}`, mistake);
}
