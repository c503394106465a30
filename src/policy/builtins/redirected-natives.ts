/** Custom section of a module whose own builtins were replaced: the JSON list of the names that the host is asked for. */
export const REDIRECTED_SECTION = 'svidgate.redirected';
/** What the module calls the first of them; the others follow. Far beyond what OPA's compiler gives to builtins. */
export const FIRST_REDIRECTED_ID = 1_000_000;

/** Numbers and names of the builtins that the module asks the host for instead of answering them; usually none. */
export function redirectedNatives(module: WebAssembly.Module): readonly (readonly [number, string])[] {
  const [section] = WebAssembly.Module.customSections(module, REDIRECTED_SECTION);
  if (section === undefined) return [];
  const names = JSON.parse(new TextDecoder().decode(section)) as readonly string[];
  return names.map((name, index) => [FIRST_REDIRECTED_ID + index, name]);
}
