import type { FieldPath } from './types.ts';

const STEP = /\.?([^.[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]/gy;

/** A path's steps: `spec.rules[2].labels["a.b/c"]` as `spec`, `rules`, 2 ...; what cannot be read ends the path, so an ancestor is found. */
export function fieldSteps(path: FieldPath): readonly (string | number)[] {
  if (typeof path !== 'string') return path;
  const steps: (string | number)[] = [];
  for (const [, name, index, quoted] of path.matchAll(STEP)) {
    if (name !== undefined) steps.push(name);
    else if (index !== undefined) steps.push(Number(index));
    else if (quoted !== undefined) steps.push(quoted.replaceAll(/\\(.)/g, '$1'));
  }
  return steps;
}
