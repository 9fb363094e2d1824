export type { FieldPath, Manifest, ManifestProblem, Manifests, Mapping } from './types.ts';
export { loadManifests } from './load.ts';
export { readManifests, readMapping } from './read.ts';
