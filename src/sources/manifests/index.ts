export type { FieldPath, Manifest, ManifestProblem, Manifests } from './types.ts';
export { loadManifests } from './load.ts';
export { readManifests } from './read.ts';
