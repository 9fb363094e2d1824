/**
 * One stage of a piece of work, done for all before the next one begins: its code and OpenSSL's are then in the
 * processor's caches for all but the first. Who failed before stays failed; who fails here does so alone.
 */
export function eachOf<In, Out>(
  items: readonly (In | Error)[],
  act: (item: In) => Out,
): readonly (Out | Error)[] {
  const results: (Out | Error)[] = [];
  for (const item of items) results.push(item instanceof Error ? item : attempt(item, act));
  return results;
}

function attempt<In, Out>(item: In, act: (item: In) => Out): Out | Error {
  try {
    return act(item);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error), { cause: error });
  }
}
